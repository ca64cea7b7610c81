"""What baselines are fitted to: the events before a part, as flat arrays.

N events.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from recsys.data.batches.ranking import find_part_bounds
from recsys.data.dataset import Dataset
from recsys.data.event_log import mask_before
from recsys.errors import DataError

DAY = 86_400.0


class EventArrays(NamedTuple):
    """Users from 0, items from 1, age in days before the newest event (None without times), and what each counts
    for: its weight, 0 if it is no target.
    """

    users: np.ndarray
    items: np.ndarray
    age: np.ndarray | None
    weights: np.ndarray


def read_events_before(dataset: Dataset, part: str) -> EventArrays:
    """Every event before `part` whose item occurs in training."""
    start, _ = find_part_bounds(dataset, part)
    users = np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))
    mask = mask_before(start, dataset.offsets) & (dataset.items <= dataset.n_items)
    age = None
    if dataset.timestamps is not None:
        moments = dataset.timestamps[mask]
        age = (moments.max() - moments) / DAY
    weights = np.ones(int(mask.sum())) if dataset.weights is None else np.array(dataset.weights[mask], dtype=np.float64)
    if dataset.is_target is not None:
        weights *= dataset.is_target[mask]
    return EventArrays(users[mask], dataset.items[mask], age, weights)


def decay_counts(events: EventArrays, n_items: int, half_life: float | None) -> np.ndarray:
    """(n_items+1,) float32 counts; DataError if a half-life is asked of a log without times."""
    weights = events.weights
    if half_life is not None:
        if events.age is None:
            raise DataError("a half-life needs times; name the column under data.columns.timestamp")
        weights = weights * 0.5 ** (events.age / half_life)
    return np.bincount(events.items, weights, minlength=n_items + 1).astype(np.float32)


def count_interactions(events: EventArrays, n_users: int, n_items: int) -> sparse.csr_matrix:
    """(U, n_items+1) float32, 1 where a user had an item."""
    ones = np.ones(len(events.users), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, (events.users, events.items)), shape=(n_users, n_items + 1))
    matrix.data[:] = 1
    return matrix
