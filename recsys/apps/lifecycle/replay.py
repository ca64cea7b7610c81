"""What a refresh trains on: all new events and a sample of old ones, so that the model does not forget.

U users, N events.
"""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import IterableDataset

from recsys.data.batches.batch import Array, Batch
from recsys.data.batches.loader import Shard, TrainingLoader
from recsys.data.dataset import Dataset
from recsys.errors import DataError


class ReplayBatches(IterableDataset[Batch]):
    """Batches as the champion's, in which only some events are targets; histories stay whole.

    Targets are all events from second `since` on and, on average `ratio` times as many, older events of users that are
    drawn again for each epoch. Raises DataError if no event is new.
    """

    def __init__(
        self,
        batches: Callable[..., TrainingLoader],
        max_history: int,
        since: int,
        ratio: float,
        dataset: Dataset,
        seed: int,
        shard: Shard = Shard(),  # noqa: B008 - frozen
    ) -> None:
        self.make_batches, self.dataset, self.seed, self.shard = batches, dataset, seed, shard
        assert dataset.timestamps is not None, "a refresh is split by time"
        recent = mask_recent_targets(dataset, max_history)
        self.new = recent & (dataset.timestamps >= since)
        self.old = recent & ~self.new
        if not self.new.any():
            raise DataError("no event for training is newer than the champion's; gather more, or widen the window")
        self.owners = np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))
        old, new = (np.bincount(self.owners[mask], minlength=dataset.n_users) for mask in (self.old, self.new))
        self.groups = np.flatnonzero((old > 0) & (new == 0)), np.flatnonzero((old > 0) & (new > 0))
        self.fraction = min(ratio * new.sum() / max(old.sum(), 1), 1.0)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draws the users of an epoch; their number is the same in every epoch, since Lightning asks for the length
        once.
        """
        rng, replayed = np.random.default_rng((self.seed, epoch)), np.zeros(self.dataset.n_users, dtype=bool)
        for group in self.groups:
            replayed[rng.choice(group, round(self.fraction * len(group)), replace=False)] = True
        epoch_dataset = Dataset(self.dataset.folder)
        epoch_dataset.is_target = self.new | (self.old & replayed[self.owners])
        self.batches = self.make_batches(dataset=epoch_dataset, seed=self.seed, shard=self.shard)
        self.batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


def mask_recent_targets(dataset: Dataset, n: int) -> Array:
    """Returns (N,) bool: the targets among each user's last `n` training events, which are all that an epoch reads."""
    end = np.repeat(dataset.bounds[:, 0], np.diff(dataset.offsets))
    positions = np.arange(len(end))
    mask: Array = (positions < end) & (positions >= end - n)
    return mask if dataset.is_target is None else mask & dataset.is_target
