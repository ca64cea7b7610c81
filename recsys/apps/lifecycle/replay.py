"""What a refresh learns from: the events that are new, and as many old ones, so that nothing is forgotten.

U users, N events.
"""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import IterableDataset

from recsys.data.batches.batch import Array, Batch
from recsys.data.batches.loader import Shard, TrainingLoader
from recsys.data.dataset import Dataset
from recsys.errors import DataError


class Replay(IterableDataset[Batch]):
    """The champion's kind of batches, in which only some events are targets: all from `since` (seconds) on, and the
    earlier ones of users drawn anew for each epoch, `ratio` times as many on average. Histories are whole.

    Raises DataError where nothing is new.
    """

    def __init__(
        self,
        batches: Callable[..., TrainingLoader],
        max_history: int,
        since: int,
        ratio: float,
        dataset: Dataset,
        seed: int,
        share: Shard = Shard(),  # noqa: B008 - frozen
    ) -> None:
        self.make, self.dataset, self.seed, self.share = batches, dataset, seed, share
        assert dataset.timestamps is not None, "a refresh is split by time"
        read = last_targets(dataset, max_history)
        self.new = read & (dataset.timestamps >= since)
        self.old = read & ~self.new
        if not self.new.any():
            raise DataError("no event for training is newer than the champion's; gather more, or widen the window")
        self.owner = np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))
        old, new = (np.bincount(self.owner[mask], minlength=dataset.n_users) for mask in (self.old, self.new))
        self.groups = np.flatnonzero((old > 0) & (new == 0)), np.flatnonzero((old > 0) & (new > 0))
        self.drawn = min(ratio * new.sum() / max(old.sum(), 1), 1.0)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the users of an epoch, as many as in any: Lightning asks for the length once."""
        rng, replayed = np.random.default_rng((self.seed, epoch)), np.zeros(self.dataset.n_users, dtype=bool)
        for group in self.groups:
            replayed[rng.choice(group, round(self.drawn * len(group)), replace=False)] = True
        lesson = Dataset(self.dataset.folder)
        lesson.is_target = self.new | (self.old & replayed[self.owner])
        self.batches = self.make(dataset=lesson, seed=self.seed, share=self.share)
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


def last_targets(dataset: Dataset, n: int) -> Array:
    """(N,) bool: the targets among each user's last `n` events of training, which are what an epoch reads."""
    end = np.repeat(dataset.bounds[:, 0], np.diff(dataset.offsets))
    place = np.arange(len(end))
    found: Array = (place < end) & (place >= end - n)
    return found if dataset.is_target is None else found & dataset.is_target
