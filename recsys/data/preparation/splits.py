"""Where training ends and testing begins, for each user: both are just two positions in the log.

Training is [offset, validation), validation [validation, test), test [test, next offset). A split never cuts
through a basket.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from recsys.data.event_log import Log, before, counted
from recsys.data.schema import MICROSECONDS, microseconds
from recsys.errors import DataError

ASKS = ("user", "event")


class Parts(NamedTuple):
    """The log (reordered by a random split), `bounds` (U, 2) int64: the absolute start of validation and test,
    and the two cuts in seconds where the split has them.
    """

    log: Log
    bounds: np.ndarray
    cuts: tuple[int, int] | None = None


@runtime_checkable
class Split(Protocol):
    """Divides a log into training, validation and test.

    `ordered` says whether parts follow one another in time, `targets` which events of a part are to be
    predicted: all, the first or the last basket; `ask` whether a user is asked once for all of them, or for each event
    (or basket) in the moment that it happened, with the context of that moment and the history before the part.
    """

    ordered: bool
    targets: str
    ask: str

    def __call__(self, log: Log) -> Parts:
        """The parts of the log."""
        ...


@dataclass(frozen=True)
class LeaveOneOut:
    """A user's last basket (or event) with a target is the test, the one before it validation; users with fewer than
    three go wholly to training.
    """

    ordered = True
    targets = "all"
    ask = "user"

    def __call__(self, log: Log) -> Parts:
        """The parts of the log."""
        first, end = log.offsets[:-1], log.offsets[1:]
        test = _basket_before(log, end, first)
        validation = _basket_before(log, test, first)
        whole = (_count_targets(log, validation) == _count_targets(log, first))[:, None]
        return Parts(log, np.where(whole, end[:, None], np.stack([validation, test], axis=1)))


@dataclass(frozen=True)
class GlobalTime:
    """One moment for everybody: train t < cut, test t ≥ cut; likewise for validation before it.

    `quantile` of all event times is the cut, unless `cut` names a moment (UTC where it names no zone);
    `validation` is the share of all events just before it that is held out for validation, at least one.
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
            raise DataError(
                f"split.ask=event asks for every event, split.targets={self.targets} for one; leave one out"
            )
        if self.targets not in ("all", "first", "last"):
            raise DataError(f"split.targets='{self.targets}' is unknown; use all, first or last")
        if not 0 < self.validation < self.quantile < 1:
            raise DataError(f"split: need 0 < validation ({self.validation}) < quantile ({self.quantile}) < 1")

    def __call__(self, log: Log) -> Parts:
        """The parts of the log; DataError without timestamps."""
        if log.timestamps is None:
            raise DataError("split=global_time needs times; name the column under data.columns.timestamp")
        test = self._cut(log.timestamps)
        before = log.timestamps[log.timestamps < test]
        held_out = max(round(self.validation * len(log)), 1)
        enough = held_out < len(before) < len(log)
        validation = int(np.partition(before, -held_out)[-held_out]) if enough else test
        if not enough or not (before < validation).any():
            raise DataError(
                f"split: {len(before):,} of {len(log):,} events are before the cut at {test // MICROSECONDS} s, too "
                "few to train or to test on, or all at one time; choose another split.cut or split.quantile"
            )
        bounds = np.stack([_first_at(log, cut) for cut in (validation, test)], axis=1)
        return Parts(log, bounds, (validation // MICROSECONDS, test // MICROSECONDS))

    def _cut(self, timestamps: np.ndarray) -> int:
        if self.cut is None:
            return int(np.ceil(np.quantile(timestamps, self.quantile)))
        return microseconds(self.cut, "split.cut")


@dataclass(frozen=True)
class Random:
    """A seeded draw of each user's baskets (or events), for models that ignore order: `test` and `validation` are
    shares of them.
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

    def __call__(self, log: Log) -> Parts:
        """The parts of the log, its events reordered inside each user."""
        draw = np.random.default_rng(self.seed).random(len(log.starts))[log.numbers]
        log = log.take(np.lexsort((log.numbers, draw, log.users)))
        log = replace(log, baskets=log.numbers)
        counts = np.bincount(log.users[log.starts], minlength=len(log.offsets) - 1)
        test = np.cumsum(counts) - np.round(counts * self.test).astype(np.int64)
        validation = test - np.round(counts * self.validation).astype(np.int64)
        starts = np.append(log.starts, len(log))
        return Parts(log, starts[np.stack([validation, test], axis=1)])


def _check_ask(ask: str) -> None:
    if ask not in ASKS:
        raise DataError(f"split.ask='{ask}' is unknown; use {' or '.join(ASKS)}")


@dataclass(frozen=True)
class ColdItems(Random):
    """A random split of events, and items that nobody had before the test: `share` of all items, shuffled by the seed.
    Of their events only those in the test are left, and of other items none that only the test has. The shuffled items
    make up as many parts as fit, of which number `hide` is hidden, so that settings can be chosen on others.
    """

    test: float = 0.6
    share: float = 0.12
    hide: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 < self.share < 1 and self.hide >= 0 and (self.hide + 1) * self.share <= 1):
            raise DataError(f"split: share={self.share} has no part number hide={self.hide}; the first is 0")

    def __call__(self, log: Log) -> Parts:
        """The parts of the log."""
        items = np.unique(log.items)
        n = max(int(len(items) * self.share), 1)
        hidden = np.random.default_rng(self.seed).permutation(items)[self.hide * n : (self.hide + 1) * n]
        parts = super().__call__(log)
        before_test = before(parts.bounds[:, 1], parts.log.offsets)
        cold = np.isin(parts.log.items, hidden)
        known = np.isin(parts.log.items, parts.log.items[before_test])
        return _kept(parts, np.where(cold, ~before_test, known))


def without_rare_items(parts: Parts, minimum: int) -> Parts:
    """The parts without items that have fewer than `minimum` events before the test part."""
    if minimum <= 1:
        return parts
    log = parts.log
    counts = counted(log.items, mask=before(parts.bounds[:, 1], log.offsets))
    return _kept(parts, counts[log.items] >= minimum)


def without_new_users(parts: Parts, minimum: int) -> Parts:
    """The parts without users who have fewer than `minimum` events before the test part."""
    if minimum < 1:
        return parts
    counts = parts.bounds[:, 1] - parts.log.offsets[:-1]
    return _kept(parts, counts[parts.log.users] >= minimum)


def _kept(parts: Parts, mask: np.ndarray) -> Parts:
    """The parts without the events that are not in the mask."""
    kept_before = np.concatenate([[0], np.cumsum(mask)])
    return parts._replace(log=parts.log.keep(mask), bounds=kept_before[parts.bounds])


def _basket_before(log: Log, end: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Where the last basket before `end` that holds a target starts; `first` where there is none."""
    last = np.maximum(end - 1, 0)
    if log.targets is not None:
        last = np.maximum.accumulate(np.where(log.targets, np.arange(len(log)), 0))[last]
    return np.where(end > first, np.maximum(log.start_of(last), first), first)


def _count_targets(log: Log, at: np.ndarray) -> np.ndarray:
    """The number of targets in the log before each position."""
    return at if log.targets is None else np.concatenate([[0], np.cumsum(log.targets)])[at]


def _first_at(log: Log, cut: int) -> np.ndarray:
    """(U,) the position of each user's first event at or after the cut."""
    assert log.timestamps is not None
    earlier = np.bincount(log.users[log.timestamps < cut], minlength=len(log.offsets) - 1)
    return log.offsets[:-1] + earlier
