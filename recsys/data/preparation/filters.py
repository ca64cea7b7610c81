"""Which events are kept; steps run in the order of the fields, each counted."""

from collections.abc import Sequence
from dataclasses import dataclass

import narwhals.stable.v2 as nw
import numpy as np

from recsys.data.engines.duckdb import Frame
from recsys.data.event_log import Log, counted
from recsys.data.schema import microseconds
from recsys.errors import DataError


@dataclass(frozen=True)
class Filters:
    """Event types to keep, the lowest value that counts, a time window [start, end) (UTC where no zone is
    written), whether only a user's first event with an item is kept, and the iterated k-core: the fewest
    events of a user and of an item.
    Last, after the split: the fewest events of an item, and of a user, before the test part; those below leave every
    part.
    """

    events: Sequence[str] | None = None
    min_value: float | int | None = None
    start: str | None = None
    end: str | None = None
    first_only: bool = False
    user_core: int = 1
    item_core: int = 1
    item_min_training: int = 1
    user_min_training: int = 0

    def select(self, frame: Frame) -> Frame:
        """The rows that pass every filter that looks at one row alone."""
        if self.events is not None:
            frame = _needing(frame, "event", "filters.events").filter(nw.col("event").is_in(list(self.events)))
        if self.min_value is not None:
            frame = _needing(frame, "value", "filters.min_value").filter(nw.col("value") >= self.min_value)
        for bound, setting in ((self.start, "start"), (self.end, "end")):
            if bound is not None:
                moment = _needing(frame, "timestamp", f"filters.{setting}")
                edge = microseconds(bound, f"data.filters.{setting}")
                later = nw.col("timestamp") >= edge
                frame = moment.filter(later if setting == "start" else ~later)
        return frame

    def reduce(self, log: Log) -> Log:
        """The log without repeats (`first_only`) and down to its core."""
        if self.first_only:
            log = log.keep(first_occurrences(log.users, log.items))
        return log.keep(core(log.users, log.items, self.user_core, self.item_core))


def first_occurrences(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """A mask (N,) of the first event of each user with each item, in the order given."""
    order = np.lexsort((items, users))
    u, i = users[order], items[order]
    first = np.ones(len(users), dtype=bool)
    first[1:] = (u[1:] != u[:-1]) | (i[1:] != i[:-1])
    mask = np.zeros(len(users), dtype=bool)
    mask[order[first]] = True
    return mask


def core(users: np.ndarray, items: np.ndarray, user_core: int, item_core: int) -> np.ndarray:
    """A mask (N,) of the largest set of events in which every user and item has enough of them."""
    mask = np.ones(len(users), dtype=bool)
    while len(users) and max(user_core, item_core) > 1:
        enough_users = counted(users, mask=mask) >= user_core
        enough_items = counted(items, mask=mask) >= item_core
        smaller = mask & enough_users[users] & enough_items[items]
        if smaller.sum() == mask.sum():
            break
        mask = smaller
    return mask


def _needing(frame: Frame, column: str, setting: str) -> Frame:
    if column not in frame.columns:
        raise DataError(f"data.{setting} needs a column '{column}'; name it under data.columns.{column}")
    return frame
