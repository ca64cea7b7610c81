"""Training batches with one row per user: every event is a target of the query just before it.

B users, L history slots, Q queries per user (padded), M real queries, T targets.
"""

import numpy as np

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
from recsys.data.dataset import Dataset


class UserRowBatches(TrainingLoader):
    """Each user's last `max_history` + 1 training events in one row.

    The items of a basket are all targets of the query at its start, so that no query sees its own basket. With
    `see_basket` each item has its own query, which sees the items before it in an order shuffled in every epoch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        max_history: int,
        seed: int,
        see_basket: bool = False,
        shard: Shard = Shard(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(dataset, batch_size, max_history + 1, seed, shard)  # the first event is only a target
        self.see_basket = see_basket

    def gather(self, rows: Array, rng: np.random.Generator) -> Batch:
        """The batch of some users."""
        index, mask = pad_positions(self.start[rows], self.length[rows])
        baskets = np.where(mask, self.dataset.baskets[index], np.iinfo(np.int64).max // 2)
        if self.see_basket or self.dataset.has_baskets:
            order = np.lexsort((rng.random(index.shape), baskets), axis=1)
            index, baskets = np.take_along_axis(index, order, 1), np.take_along_axis(baskets, order, 1)
        items = self.reader.history(index, mask)
        own_slot = np.broadcast_to(np.arange(index.shape[1]), index.shape)
        query_slot = own_slot if self.see_basket else find_basket_start(baskets)
        usable = self.reader.targets(index, mask) & (items > 0) & ~(self.cut_off[rows][:, None] & (query_slot == 0))
        positions, queries, target_query = find_distinct_positions(query_slot, usable)
        request = select_positions(self.reader.request_context(index, mask), positions)
        history, events = truncate_rows(positions.max(axis=1), items, self.reader.events(index, mask))
        weights = self.dataset.weights
        return Batch(
            user=to_tensors(self.reader.user(rows)),
            history=to_tensor(history),
            events=to_tensors(events),
            request=to_tensors(request),
            positions=to_tensor(positions),
            queries=to_tensor(queries),
            targets=to_tensor(items[usable]),
            target_query=to_tensor(target_query[usable]),
            weights=None if weights is None else to_tensor(weights[index][usable]),
            total_weight=float(usable.sum() if weights is None else weights[index][usable].sum()),
            n_tokens=int(mask.sum()),
        )


def find_basket_start(baskets: Array) -> Array:
    """The slot (B, L) of the first event of each event's basket."""
    is_first = np.ones(baskets.shape, dtype=bool)
    is_first[:, 1:] = baskets[:, 1:] != baskets[:, :-1]
    return np.maximum.accumulate(np.where(is_first, np.arange(baskets.shape[1]), 0), axis=1)


def find_distinct_positions(query_slot: Array, usable: Array) -> tuple[Array, Array, Array]:
    """The distinct query positions (B, Q), padded with 0; the real ones (M,), as indices into the flattened (B, Q);
    and the query (B, L) of each event, as an index into these M, valid where `usable`.
    """
    is_new = usable.copy()
    is_new[:, 1:] &= ~(usable[:, :-1] & (query_slot[:, 1:] == query_slot[:, :-1]))
    number, counts = np.cumsum(is_new, axis=1) - 1, is_new.sum(axis=1)
    positions = np.zeros((len(query_slot), max(int(counts.max(initial=0)), 1)), dtype=np.int64)
    mask = np.arange(positions.shape[1]) < counts[:, None]
    positions[mask] = query_slot[is_new]
    return positions, np.flatnonzero(mask), number + (np.cumsum(counts) - counts)[:, None]
