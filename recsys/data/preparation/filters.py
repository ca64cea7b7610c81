"""Which events are kept; the filters run in the order of the fields, and each is counted."""

from collections.abc import Sequence
from dataclasses import dataclass

import narwhals.stable.v2 as nw
import numpy as np

from recsys.data.engines.duckdb import Frame
from recsys.data.event_log import EventLog, count_codes
from recsys.data.schema import parse_timestamp
from recsys.errors import DataError


@dataclass(frozen=True)
class Filters:
    """Filters on single events, then the core, then the fewest events in training.

    `events` are the types to keep, `min_value` is the lowest value to keep, [`start`, `end`) the time window (UTC where
    no zone is written); `first_only` keeps only a user's first event with an item. `user_core` and `item_core` are the
    fewest events of a user and of an item, applied until both hold. After the split, users and items with fewer events
    before the test than `user_min_training` and `item_min_training` leave every part.
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
        """The rows that pass the filters on single rows: types, values and times."""
        if self.events is not None:
            frame = _require_column(frame, "event", "filters.events").filter(nw.col("event").is_in(list(self.events)))
        if self.min_value is not None:
            frame = _require_column(frame, "value", "filters.min_value").filter(nw.col("value") >= self.min_value)
        if self.start is not None:
            frame = _require_column(frame, "timestamp", "filters.start")
            frame = frame.filter(nw.col("timestamp") >= parse_timestamp(self.start, "data.filters.start"))
        if self.end is not None:
            frame = _require_column(frame, "timestamp", "filters.end")
            frame = frame.filter(~(nw.col("timestamp") >= parse_timestamp(self.end, "data.filters.end")))
        return frame

    def reduce(self, events: EventLog) -> EventLog:
        """The log without repeated items (if `first_only`), reduced to its core."""
        if self.first_only:
            events = events.keep(find_first_occurrences(events.users, events.items))
        return events.keep(find_core(events.users, events.items, self.user_core, self.item_core))


def find_first_occurrences(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """A mask (N,) of the first event of each user with each item, in the order of the arrays."""
    order = np.lexsort((items, users))
    sorted_users, sorted_items = users[order], items[order]
    first = np.ones(len(users), dtype=bool)
    first[1:] = (sorted_users[1:] != sorted_users[:-1]) | (sorted_items[1:] != sorted_items[:-1])
    mask = np.zeros(len(users), dtype=bool)
    mask[order[first]] = True
    return mask


def find_core(users: np.ndarray, items: np.ndarray, user_core: int, item_core: int) -> np.ndarray:
    """A mask (N,) of the largest set of events in which every user and item has enough of them."""
    mask = np.ones(len(users), dtype=bool)
    while len(users) and max(user_core, item_core) > 1:
        enough_users = count_codes(users, mask=mask) >= user_core
        enough_items = count_codes(items, mask=mask) >= item_core
        smaller = mask & enough_users[users] & enough_items[items]
        if smaller.sum() == mask.sum():
            break
        mask = smaller
    return mask


def _require_column(frame: Frame, column: str, setting: str) -> Frame:
    if column not in frame.columns:
        raise DataError(f"data.{setting} needs a column '{column}'; name it under data.columns.{column}")
    return frame
