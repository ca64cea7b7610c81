"""The events that baselines are fitted to: those before a part of the split, as flat arrays.

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
    """Flat arrays (N,) of events: users from 0, items from 1, the age in days before the newest event, and weights.

    The age is None without times; the weight of an event that is not a target is 0.
    """

    users: np.ndarray
    items: np.ndarray
    age: np.ndarray | None
    weights: np.ndarray


def read_events_before(dataset: Dataset, part: str) -> EventArrays:
    """Every event before `part` (validation or test) whose item occurs in training."""
    start, _ = find_part_bounds(dataset, part)
    users = np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))
    mask = mask_before(start, dataset.offsets) & (dataset.items <= dataset.n_items)
    age = None
    if dataset.timestamps is not None:
        timestamps = dataset.timestamps[mask]
        age = (timestamps.max() - timestamps) / DAY
    weights = np.ones(int(mask.sum())) if dataset.weights is None else np.array(dataset.weights[mask], dtype=np.float64)
    if dataset.is_target is not None:
        weights *= dataset.is_target[mask]
    return EventArrays(users[mask], dataset.items[mask], age, weights)


def decay_counts(events: EventArrays, n_items: int, half_life: float | None) -> np.ndarray:
    """The weighted count of each item, (n_items+1,) float32, with weights that halve every `half_life` days.

    Raises DataError for a half-life if the log has no times.
    """
    weights = events.weights
    if half_life is not None:
        if events.age is None:
            raise DataError("a half-life needs times; name the column under data.columns.timestamp")
        weights = weights * 0.5 ** (events.age / half_life)
    return np.bincount(events.items, weights, minlength=n_items + 1).astype(np.float32)


def count_interactions(events: EventArrays, n_users: int, n_items: int) -> sparse.csr_matrix:
    """The sparse matrix (n_users, n_items+1) float32 with 1 where a user had an item."""
    ones = np.ones(len(events.users), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, (events.users, events.items)), shape=(n_users, n_items + 1))
    matrix.data[:] = 1
    return matrix
