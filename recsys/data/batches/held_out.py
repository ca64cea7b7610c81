"""Training batches that predict a user's held-out items from the others, for data without order.

B users, L history slots, Q queries per user, M real queries, T targets.
"""

import numpy as np

from recsys.config.types import Positive
from recsys.data.batches.batch import (
    Array,
    Batch,
    pad_positions,
    select_positions,
    to_tensor,
    to_tensors,
    truncate_rows,
)
from recsys.data.batches.loader import Shard, TrainingLoader
from recsys.data.batches.one_row_per_user import find_basket_start
from recsys.data.dataset import Dataset
from recsys.errors import DataError


class HeldOutBatches(TrainingLoader):
    """Each user's training events, shuffled in every epoch, with `n_queries` after a random number of them.

    The targets of a query are all later events; their weights add up to 1. Baskets keep their order and stay whole.
    Raises DataError for a split that keeps the order of time.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: Positive,
        max_history: Positive,
        seed: int,
        n_queries: Positive = 4,
        shard: Shard = Shard(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(dataset, batch_size, max_history, seed, shard)
        if dataset.ordered:
            raise DataError("batches=rest shuffles events; choose split=random or cold_items, or batches=next")
        self.n_queries = n_queries

    def gather(self, rows: Array, rng: np.random.Generator) -> Batch:
        """The batch of some users."""
        index, mask = pad_positions(self.start[rows], self.length[rows])
        slots = np.broadcast_to(np.arange(index.shape[1]), index.shape)
        if self.dataset.has_baskets:
            slots = find_basket_start(np.where(mask, self.dataset.baskets[index], np.iinfo(np.int64).max // 2))
        else:
            order = np.where(mask, rng.random(index.shape), 2.0).argsort(axis=1)
            index = np.take_along_axis(index, order, axis=1)
        items = self.reader.history(index, mask)
        lengths = (rng.random((len(rows), self.n_queries)) * self.length[rows][:, None]).astype(np.int64)
        positions = np.take_along_axis(slots, np.sort(lengths, axis=1), axis=1)
        usable = self.reader.targets(index, mask) & (items > 0)
        inside = (np.arange(index.shape[1]) >= positions[:, :, None]) & usable[:, None]
        has_target = inside.any(axis=2)
        positions = np.where(has_target, positions, 0)
        row, query, slot = np.nonzero(inside)
        target_query = (np.cumsum(has_target).reshape(has_target.shape) - 1)[row, query]
        request = select_positions(self.reader.request_context(index, mask), positions)
        history, events = truncate_rows(positions.max(axis=1), items, self.reader.events(index, mask))
        return Batch(
            user=to_tensors(self.reader.user(rows)),
            history=to_tensor(history),
            events=to_tensors(events),
            request=to_tensors(request),
            positions=to_tensor(positions),
            queries=to_tensor(np.flatnonzero(has_target)),
            targets=to_tensor(items[row, slot]),
            target_query=to_tensor(target_query),
            weights=to_tensor((1 / np.bincount(target_query)[target_query]).astype(np.float32)),
            total_weight=float(max(has_target.sum(), 1)),
            n_tokens=int(mask.sum()),
        )
