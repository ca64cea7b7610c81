"""Batches to learn from in which every query stands as it will when it is asked: last, after its own history.

R rows (queries), L history slots, T targets.
"""

import numpy as np
import torch

from recsys.data.batches.batch import Array, Batch, move_up, pad_positions, to_tensor, to_tensors
from recsys.data.batches.loader import TrainingLoader
from recsys.data.dataset import Dataset

ALIKE = 10
"""users of whose first events one is asked for in an epoch"""


class QueryRowBatches(TrainingLoader):
    """The queries of `TrainingBatches`, each in a row of its own with the last `n_events` events before it. A history
    is read once for each of its events: for short ones. Queries without any history, which are all alike, are asked for
    a tenth of the users, drawn anew for each epoch.
    """

    def lay_out(self, n_events: int) -> None:
        """Find the rows of all queries, and tell apart those without a history."""
        self.at, self.end, self.owner = query_mask(self.dataset)
        self.start = np.maximum(self.dataset.offsets[self.owner], self.at - n_events)
        self.length = self.at - self.start
        rows = np.flatnonzero(self.dataset.count_targets(self.at, self.end) > 0)
        self.told, self.untold = rows[self.length[rows] > 0], rows[self.length[rows] == 0]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration has, and draw whose first events it asks for."""
        super().set_epoch(epoch)
        drawn = np.random.default_rng((self.seed, epoch)).choice(
            self.untold, -(-len(self.untold) // ALIKE), replace=False
        )
        self.users = np.concatenate([self.told, drawn])

    def gather(self, users: Array, rng: np.random.Generator) -> Batch:  # noqa: ARG002 - nothing is drawn
        """The batch of some rows."""
        index, mask = pad_positions(self.start[users], self.length[users])
        history, events = move_up(self.reader.history(index, mask), self.reader.events(index, mask))
        place, real = pad_positions(self.at[users], self.end[users] - self.at[users])
        items = self.reader.history(place, real)
        usable = self.reader.targets(place, real) & (items > 0)
        row = np.flatnonzero(usable.any(axis=1))
        weights = self.dataset.weights
        return Batch(
            user=to_tensors(self.reader.user(self.owner[users])),
            history=to_tensor(history),
            events=to_tensors(events),
            request=to_tensors(self.reader.moments(self.at[users][:, None], np.ones((len(users), 1), dtype=bool))),
            positions=to_tensor((history > 0).sum(axis=1, keepdims=True)),
            queries=to_tensor(row),
            targets=to_tensor(items[usable]),
            target_query=torch.from_numpy(np.searchsorted(row, np.nonzero(usable)[0])),
            weights=None if weights is None else to_tensor(weights[place][usable]),
            total_weight=float(usable.sum() if weights is None else weights[place][usable].sum()),
            n_tokens=int(mask.sum()),
        )


def query_mask(dataset: Dataset) -> tuple[Array, Array, Array]:
    """(R,) where the baskets (or events) of the training parts start and end, and whose they are."""
    first = np.ones(len(dataset.baskets), dtype=bool)
    first[1:] = dataset.baskets[1:] != dataset.baskets[:-1]
    at = np.flatnonzero(first & dataset.in_training())
    owner = np.searchsorted(dataset.offsets, at, side="right") - 1
    end = np.append(np.flatnonzero(first), len(first))[np.cumsum(first)[at]]
    return at, np.minimum(end, dataset.bounds[owner, 0]), owner
