"""Training batches with one row per query, which comes last after its own history, as in ranking.

R rows (queries), L history slots, T targets.
"""

import numpy as np
import torch
from typing_extensions import override

from recsys.data.batches.batch import Array, Batch, move_up, pad_positions, to_tensor, to_tensors
from recsys.data.batches.loader import TrainingLoader
from recsys.data.dataset import Dataset

EMPTY_HISTORY_RATIO = 10
"""an epoch draws one of so many queries with an empty history"""


class QueryRowBatches(TrainingLoader):
    """The queries of `UserRowBatches`, each in its own row after the last `n_events` events before it.

    A history is read once for each of its events, so this suits short histories. Queries with an empty history are all
    alike, so each epoch draws a tenth of them.
    """

    def lay_out(self, n_events: int) -> None:
        """Find the rows of all queries, with and without a history."""
        self.row_user, self.target_start, self.target_end = find_training_baskets(self.dataset)
        self.start = np.maximum(self.dataset.offsets[self.row_user], self.target_start - n_events)
        self.length = self.target_start - self.start
        rows = np.flatnonzero(self.dataset.count_targets(self.target_start, self.target_end) > 0)
        self.rows_with_history = rows[self.length[rows] > 0]
        self.rows_without_history = rows[self.length[rows] == 0]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order of the next iteration and its queries with an empty history."""
        super().set_epoch(epoch)
        n_drawn = -(-len(self.rows_without_history) // EMPTY_HISTORY_RATIO)
        rng = np.random.default_rng((self.seed, epoch))
        drawn = rng.choice(self.rows_without_history, n_drawn, replace=False)
        self.rows = np.concatenate([self.rows_with_history, drawn])

    @override
    def gather(self, rows: Array, rng: np.random.Generator) -> Batch:
        users, target_start, target_end = self.row_user[rows], self.target_start[rows], self.target_end[rows]
        index, mask = pad_positions(self.start[rows], self.length[rows])
        history, events = move_up(self.reader.history(index, mask), self.reader.events(index, mask))
        target_index, target_mask = pad_positions(target_start, target_end - target_start)
        items = self.reader.history(target_index, target_mask)
        usable = self.reader.targets(target_index, target_mask) & (items > 0)
        queries = np.flatnonzero(usable.any(axis=1))
        weights = self.dataset.weights
        return Batch(
            user=to_tensors(self.reader.user(users)),
            history=to_tensor(history),
            events=to_tensors(events),
            request=to_tensors(self.reader.request_context(target_start[:, None], np.ones((len(rows), 1), dtype=bool))),
            positions=to_tensor((history > 0).sum(axis=1, keepdims=True)),
            queries=to_tensor(queries),
            targets=to_tensor(items[usable]),
            target_query=torch.from_numpy(np.searchsorted(queries, np.nonzero(usable)[0])),
            weights=None if weights is None else to_tensor(weights[target_index][usable]),
            total_weight=float(usable.sum() if weights is None else weights[target_index][usable].sum()),
            n_tokens=int(mask.sum()),
        )


def find_training_baskets(dataset: Dataset) -> tuple[Array, Array, Array]:
    """The user, start and end (R,) of each training basket, or of each event where the data have no baskets."""
    is_first = np.ones(len(dataset.baskets), dtype=bool)
    is_first[1:] = dataset.baskets[1:] != dataset.baskets[:-1]
    start = np.flatnonzero(is_first & dataset.in_training())
    user = np.searchsorted(dataset.offsets, start, side="right") - 1
    end = np.append(np.flatnonzero(is_first), len(is_first))[np.cumsum(is_first)[start]]
    return user, start, np.minimum(end, dataset.bounds[user, 0])
