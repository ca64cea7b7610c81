"""Batches to learn what a user has from some of it, for data whose order does not matter.

B users, L history slots, Q queries a user, M real queries in all, T targets.
"""

import numpy as np

from recsys.config.types import Positive
from recsys.data.batches.batch import Array, Batch, padded, tensor, tensors, until
from recsys.data.batches.loader import Epochs, Share
from recsys.data.batches.one_row_per_user import basket_start
from recsys.data.dataset import Dataset
from recsys.errors import DataError


class RestBatches(Epochs):
    """Each user's training events, shuffled anew in every epoch; `n_queries` of random length are each answered by all
    the rest, whose items share a weight of one. Baskets keep their order and stay whole. Raises DataError for a split
    that keeps the order of time.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: Positive,
        max_history: Positive,
        seed: int,
        n_queries: Positive = 4,
        share: Share = Share(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(dataset, batch_size, max_history, seed, share)
        if dataset.ordered:
            raise DataError("batches=rest shuffles events; choose split=random or cold_items, or batches=next")
        self.n_queries = n_queries

    def gather(self, users: Array, rng: np.random.Generator) -> Batch:
        """The batch of some users."""
        index, mask = padded(self.start[users], self.length[users])
        place = np.broadcast_to(np.arange(index.shape[1]), index.shape)
        if self.dataset.has_baskets:
            place = basket_start(np.where(mask, self.dataset.baskets[index], np.iinfo(np.int64).max // 2))
        else:
            shuffled = np.where(mask, rng.random(index.shape), 2.0).argsort(axis=1)
            index = np.take_along_axis(index, shuffled, axis=1)
        items = self.reader.history(index, mask)
        drawn = (rng.random((len(users), self.n_queries)) * self.length[users][:, None]).astype(np.int64)
        ask = np.take_along_axis(place, np.sort(drawn, axis=1), axis=1)
        usable = self.reader.targets(index, mask) & (items > 0)
        inside = (np.arange(index.shape[1]) >= ask[:, :, None]) & usable[:, None]
        real = inside.any(axis=2)
        ask = np.where(real, ask, 0)
        row, query, slot = np.nonzero(inside)
        answers = (np.cumsum(real).reshape(real.shape) - 1)[row, query]
        rows = np.arange(len(users))[:, None]
        request = {name: array[rows, ask] for name, array in self.reader.moments(index, mask).items()}
        history, events = until(ask.max(axis=1), items, self.reader.events(index, mask))
        return Batch(
            user=tensors(self.reader.user(users)),
            history=tensor(history),
            events=tensors(events),
            request=tensors(request),
            ask=tensor(ask),
            query=tensor(np.flatnonzero(real)),
            target=tensor(items[row, slot]),
            target_query=tensor(answers),
            weight=tensor((1 / np.bincount(answers)[answers]).astype(np.float32)),
            mass=float(max(real.sum(), 1)),
            n_tokens=int(mask.sum()),
        )
