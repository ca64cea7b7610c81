"""The base class of training batches: shuffled rows, divided among processes.

B users.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from torch.utils.data import IterableDataset

from recsys.data.batches.batch import Array, Batch, ColumnReader, bucket_by_length
from recsys.data.dataset import Dataset


@dataclass(frozen=True)
class Shard:
    """The batches of this process, and how many of them make one optimizer step."""

    rank: int = 0
    world_size: int = 1
    accumulate: int = 1


class TrainingLoader(IterableDataset[Batch], ABC):
    """Each user's last `n_events` training events in one row, with rows of similar length in a batch.

    Batches are deterministic in (seed, epoch, rank), and every rank has the same number. The `total_weight` of a batch
    is that of all batches of its step.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        n_events: int,
        seed: int,
        shard: Shard = Shard(),
    ) -> None:
        self.dataset, self.reader = dataset, ColumnReader(dataset)
        self.batch_size, self.seed, self.shard = batch_size, seed, shard
        self.lay_out(n_events)
        self.set_epoch(0)

    def lay_out(self, n_events: int) -> None:
        """Set `start` and `length` of each row, whether older events are `cut_off`, and the `rows` with a target."""
        first, end = self.dataset.offsets[:-1], self.dataset.bounds[:, 0]
        self.start = np.maximum(first, end - n_events)
        self.length = end - self.start
        self.rows = np.flatnonzero(self.dataset.count_targets(self.start, end) > 0)
        self.cut_off = self.start > first

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        batches = -(-len(self.rows) // self.batch_size)
        return -(-batches // self.shard.world_size)

    def __iter__(self) -> Iterator[Batch]:
        batches = self._gather_batches()
        while step := list(islice(batches, self.shard.accumulate)):
            total_weight = sum(batch.total_weight for batch in step)
            for batch in step:
                batch.total_weight = total_weight
                yield batch

    def _gather_batches(self) -> Iterator[Batch]:
        rng = np.random.default_rng((self.seed, self.epoch))
        batches = list(bucket_by_length(self.length[self.rows], self.batch_size, rng))
        for n in range(len(self)):  # a rank that runs out starts again, so that all have the same number
            number = n * self.shard.world_size + self.shard.rank
            batch = self.gather(self.rows[batches[number % len(batches)]], rng)
            batch.target_starts = np.searchsorted(batch.target_query.numpy(), np.arange(len(batch.queries) + 1))
            yield batch

    @abstractmethod
    def gather(self, rows: Array, rng: np.random.Generator) -> Batch:
        """The batch of some rows."""
