"""Where training ends and testing begins for each user: two positions in the log.

Training is [offset, validation), validation [validation, test), test [test, next offset). A split never divides a
basket.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from recsys.data.event_log import EventLog, count_codes, mask_before
from recsys.data.schema import MICROSECONDS, parse_timestamp
from recsys.errors import DataError

ASK_CHOICES = ("user", "event")


class SplitLog(NamedTuple):
    """The log (reordered by a random split), `bounds` (U, 2) int64: the positions where validation and test of each
    user start, and the same two cuts in seconds if the split is by time.
    """

    log: EventLog
    bounds: np.ndarray
    cuts: tuple[int, int] | None = None


@runtime_checkable
class Split(Protocol):
    """Divides a log into training, validation and test.

    `ordered` is true if the parts follow one another in time. `targets` says which events of a part are to be
    predicted: all, or those of the first or last basket. `ask` is "user" for one query per user and part, at its start,
    or "event" for one query per event (or basket), with the context of its time and the history before the part.
    """

    ordered: bool
    targets: str
    ask: str

    def __call__(self, log: EventLog) -> SplitLog:
        """The log and where the parts of each user start."""
        ...


@dataclass(frozen=True)
class LeaveOneOut:
    """Tests on a user's last basket (or event) with a target and validates on the one before.

    All events of users with fewer than three such baskets are for training.
    """

    ordered = True
    targets = "all"
    ask = "user"

    def __call__(self, log: EventLog) -> SplitLog:
        """The log and where the parts of each user start."""
        first, end = log.offsets[:-1], log.offsets[1:]
        test = _find_basket_before(log, end, first)
        validation = _find_basket_before(log, test, first)
        too_few = (_count_targets(log, validation) == _count_targets(log, first))[:, None]
        return SplitLog(log, np.where(too_few, end[:, None], np.stack([validation, test], axis=1)))


@dataclass(frozen=True)
class GlobalTime:
    """Cuts at one time for all users: training is t < cut, test is t ≥ cut; validation ends at the cut.

    The cut is the `quantile` of all event times, unless `cut` gives a time (UTC if it names no zone). `validation` is
    the fraction of all events, just before the cut, that is held out for validation; it is one event at least.
    """

    quantile: float = 0.9
    validation: float = 0.05
    cut: str | None = None
    targets: str = "all"
    ask: str = "user"
    ordered = True

    def __post_init__(self) -> None:
        _check_ask(self.ask)
        if self.ask == "event" and self.targets != "all":
            raise DataError(f"split.ask=event needs split.targets=all, but it is {self.targets}; change one of the two")
        if self.targets not in ("all", "first", "last"):
            raise DataError(f"split.targets='{self.targets}' is unknown; use all, first or last")
        if not 0 < self.validation < self.quantile < 1:
            raise DataError(f"split: need 0 < validation ({self.validation}) < quantile ({self.quantile}) < 1")

    def __call__(self, log: EventLog) -> SplitLog:
        """The log and where the parts of each user start; DataError without timestamps or with too few events."""
        if log.timestamps is None:
            raise DataError("split=global_time needs times; name the column under data.columns.timestamp")
        test = self._choose_cut(log.timestamps)
        earlier = log.timestamps[log.timestamps < test]
        n_validation = max(round(self.validation * len(log)), 1)
        enough = n_validation < len(earlier) < len(log)
        validation = int(np.partition(earlier, -n_validation)[-n_validation]) if enough else test
        if not enough or not (earlier < validation).any():
            raise DataError(
                f"split: {len(earlier):,} of {len(log):,} events are before the cut at {test // MICROSECONDS} s, too "
                "few to train or to test on, or all at one time; choose another split.cut or split.quantile"
            )
        bounds = np.stack([_find_first_at(log, cut) for cut in (validation, test)], axis=1)
        return SplitLog(log, bounds, (validation // MICROSECONDS, test // MICROSECONDS))

    def _choose_cut(self, timestamps: np.ndarray) -> int:
        """The start of the test in microseconds."""
        if self.cut is None:
            return int(np.ceil(np.quantile(timestamps, self.quantile)))
        return parse_timestamp(self.cut, "split.cut")


@dataclass(frozen=True)
class Random:
    """Draws the fractions `test` and `validation` of each user's baskets (or events) by `seed`, for models that ignore
    order.
    """

    test: float = 0.25
    validation: float | int = 0.05
    seed: int = 0
    ask: str = "user"
    ordered = False
    targets = "all"

    def __post_init__(self) -> None:
        _check_ask(self.ask)
        if not (self.test > 0 and self.validation >= 0 and self.test + self.validation < 1):
            raise DataError(f"split: need test ({self.test}) > 0 and test + validation ({self.validation}) < 1")

    def __call__(self, log: EventLog) -> SplitLog:
        """The log, each user's baskets reordered, and where the parts of each user start."""
        draw = np.random.default_rng(self.seed).random(len(log.basket_starts))[log.basket_numbers]
        log = log.take(np.lexsort((log.basket_numbers, draw, log.users)))
        log = replace(log, baskets=log.basket_numbers)
        counts = np.bincount(log.users[log.basket_starts], minlength=len(log.offsets) - 1)
        test = np.cumsum(counts) - np.round(counts * self.test).astype(np.int64)
        validation = test - np.round(counts * self.validation).astype(np.int64)
        starts = np.append(log.basket_starts, len(log))
        return SplitLog(log, starts[np.stack([validation, test], axis=1)])


def _check_ask(ask: str) -> None:
    if ask not in ASK_CHOICES:
        raise DataError(f"split.ask='{ask}' is unknown; use {' or '.join(ASK_CHOICES)}")


@dataclass(frozen=True)
class ColdItems(Random):
    """A random split that also hides the fraction `share` of the items until the test, drawn by the seed.

    Of the hidden items only the events in the test are kept; of the others, none that occur only in the test. The
    shuffled items make up as many groups as fit, of which number `hide` is hidden: choose settings with one group and
    test with another.
    """

    test: float = 0.6
    share: float = 0.12
    hide: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.share < 1 and self.hide >= 0 and (self.hide + 1) * self.share <= 1):
            raise DataError(
                f"split: share={self.share}, hide={self.hide} is invalid: "
                "expected 0 < share < 1 and a whole number hide from 0 to 1 / share - 1"
            )

    def __call__(self, log: EventLog) -> SplitLog:
        """The log without the dropped events, and where the parts of each user start."""
        items = np.unique(log.items)
        n = max(int(len(items) * self.share), 1)
        hidden = np.random.default_rng(self.seed).permutation(items)[self.hide * n : (self.hide + 1) * n]
        split_log = super().__call__(log)
        events = split_log.log
        before_test = mask_before(split_log.bounds[:, 1], events.offsets)
        is_hidden = np.isin(events.items, hidden)
        in_training = np.isin(events.items, events.items[before_test])
        return _keep_events(split_log, np.where(is_hidden, ~before_test, in_training))


def drop_rare_items(split_log: SplitLog, minimum: int) -> SplitLog:
    """The split log without items that have fewer than `minimum` events before the test."""
    if minimum <= 1:
        return split_log
    log = split_log.log
    counts = count_codes(log.items, mask=mask_before(split_log.bounds[:, 1], log.offsets))
    return _keep_events(split_log, counts[log.items] >= minimum)


def drop_new_users(split_log: SplitLog, minimum: int) -> SplitLog:
    """The split log without users who have fewer than `minimum` events before the test."""
    if minimum < 1:
        return split_log
    counts = split_log.bounds[:, 1] - split_log.log.offsets[:-1]
    return _keep_events(split_log, counts[split_log.log.users] >= minimum)


def _keep_events(split_log: SplitLog, mask: np.ndarray) -> SplitLog:
    """The split log with only the events in the mask."""
    kept_before = np.concatenate([[0], np.cumsum(mask)])
    return split_log._replace(log=split_log.log.keep(mask), bounds=kept_before[split_log.bounds])


def _find_basket_before(log: EventLog, end: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Where the last basket before `end` that has a target starts; `first` if there is none."""
    last = np.maximum(end - 1, 0)
    if log.is_target is not None:
        last = np.maximum.accumulate(np.where(log.is_target, np.arange(len(log)), 0))[last]
    return np.where(end > first, np.maximum(log.basket_start_of(last), first), first)


def _count_targets(log: EventLog, at: np.ndarray) -> np.ndarray:
    """The number of targets in the log before each position."""
    return at if log.is_target is None else np.concatenate([[0], np.cumsum(log.is_target)])[at]


def _find_first_at(log: EventLog, cut: int) -> np.ndarray:
    """(U,) the position of each user's first event at or after the cut."""
    assert log.timestamps is not None
    earlier = np.bincount(log.users[log.timestamps < cut], minlength=len(log.offsets) - 1)
    return log.offsets[:-1] + earlier
