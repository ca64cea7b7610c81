"""What a refresh learns from: the events that are new, and as many old ones, so that nothing is forgotten.

U users, N events.
"""

from collections.abc import Callable

import numpy as np

from recsys.data.batches import Array
from recsys.data.dataset import Dataset
from recsys.data.epochs import Epochs, Share
from recsys.data.schema import DataError


def replay(
    batches: Callable[..., Epochs],
    max_history: int,
    since: int,
    ratio: float,
    dataset: Dataset,
    seed: int,
    share: Share = Share(),  # noqa: B008 - frozen
) -> Epochs:
    """The champion's kind of batches, in which only new events and the old ones of some users are targets; histories
    are whole.
    """
    lesson = Dataset(dataset.folder)
    lesson.is_target = chosen(dataset, max_history, since, ratio, seed)
    return batches(dataset=lesson, seed=seed, share=share)


def chosen(dataset: Dataset, max_history: int, since: int, ratio: float, seed: int) -> Array:
    """(N,) bool: training events from `since` (seconds) on, and all earlier ones of users drawn until these are `ratio`
    times as many. Of each user only the last `max_history` events are counted, as only they are read.

    Raises DataError where nothing is new.
    """
    assert dataset.timestamps is not None, "a refresh is split by time"
    owner = np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))
    end = dataset.bounds[owner, 0]
    place = np.arange(len(owner))
    read = (place < end) & (place >= end - max_history)
    if dataset.is_target is not None:
        read &= dataset.is_target
    new = read & (dataset.timestamps >= since)
    if not new.any():
        raise DataError("no event for training is newer than the champion's; gather more, or widen the window")
    old = np.bincount(owner[read & ~new], minlength=dataset.n_users)
    users = np.random.default_rng(seed).permutation(np.flatnonzero(old))
    before = np.cumsum(old[users]) - old[users]
    drawn = np.zeros(dataset.n_users, dtype=bool)
    drawn[users[before < ratio * new.sum()]] = True
    return new | (read & drawn[owner])
