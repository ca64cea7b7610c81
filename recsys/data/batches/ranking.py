"""Batches for ranking: the history of each user before a part of the split, and the targets in that part.

U users, R rows of all batches, B rows of a batch, L history slots, T targets, S seen items.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import IterableDataset

from recsys.data.batches.batch import (
    Array,
    Batch,
    ColumnReader,
    bucket_by_length,
    move_up,
    pad_positions,
    to_tensor,
    to_tensors,
)
from recsys.data.batches.loader import Shard
from recsys.data.dataset import Dataset


class RankingBatches(IterableDataset[Batch]):
    """One row for each user with a target in `part` (validation or test), shortest histories first.

    The history is every event before the targets' basket, including validation events in the test. An item counts as
    one target of a row, however often it occurs. If the split has `ask: event`, each basket of the part with a target
    (or each event, without baskets) has its own row, ranked at its own time after the same history.

    `rows` selects rows by the index of the user, or of that basket in the order of the log (None: all).
    """

    def __init__(
        self,
        dataset: Dataset,
        part: str,
        batch_size: int,
        max_history: int | None = None,
        shard: Shard = Shard(),  # noqa: B008 - frozen
        rows: Array | None = None,
    ) -> None:
        self.dataset, self.reader = dataset, ColumnReader(dataset)
        self.part, self.batch_size, self.max_history = part, batch_size, max_history
        start, self.target_end = find_part_bounds(dataset, part)
        if dataset.ask == "event":
            self.row_user, self.target_start, self.target_end = find_target_baskets(dataset, start, self.target_end)
            self.history_end, all_rows = start[self.row_user], np.arange(len(self.row_user))
        else:
            all_rows = np.flatnonzero(dataset.count_targets(start, self.target_end) > 0)
            self.row_user, self.target_start = (
                np.arange(dataset.n_users),
                find_first_targets(dataset, start, self.target_end),
            )
            self.history_end = self.target_start
        self.rows = (all_rows if rows is None else rows)[shard.rank :: shard.world_size]
        if dataset.targets == "first":
            self.target_end = find_basket_ends(dataset, self.history_end, self.target_end)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        lengths = self.history_end[self.rows] - self.dataset.offsets[self.row_user[self.rows]]
        for rows in bucket_by_length(lengths, self.batch_size, None):
            yield self.gather(self.rows[rows])

    def gather(self, rows: Array) -> Batch:
        """The batch of some rows."""
        users, history_end, target_start = self.row_user[rows], self.history_end[rows], self.target_start[rows]
        first = self.dataset.offsets[users]
        seen_index, seen_mask = pad_positions(first, history_end - first)
        begin = first if self.max_history is None else np.maximum(first, history_end - self.max_history)
        index, mask = pad_positions(begin, history_end - begin)
        items, events = move_up(self.reader.history(index, mask), self.reader.events(index, mask))
        target_index, target_mask = pad_positions(target_start, self.target_end[rows] - target_start)
        target_mask = self.reader.targets(target_index, target_mask)
        target_query, targets = find_distinct_pairs(np.where(target_mask, self.dataset.items[target_index], 0))
        seen = None
        if self.dataset.exclude_seen:
            seen_mask = self.reader.targets(seen_index, seen_mask)
            items_seen = self.reader.history(seen_index, seen_mask)
            rows_seen, slots = np.nonzero(items_seen)
            seen = to_tensor(rows_seen), to_tensor(items_seen[rows_seen, slots])
        return Batch(
            user=to_tensors(self.reader.user(users)),
            history=to_tensor(items),
            events=to_tensors(events),
            request=to_tensors(self.request(rows)),
            positions=to_tensor((items > 0).sum(axis=1, keepdims=True)),
            queries=torch.arange(len(users)),
            targets=to_tensor(targets),
            target_query=to_tensor(target_query),
            seen=seen,
            users=to_tensor(users),
        )

    def request(self, rows: Array) -> dict[str, Array]:
        """The request columns (B, 1): at the cut where a whole window is predicted, else at the target's time."""
        if has_queries_at_cut(self.dataset):
            cuts = self.dataset.metadata["cuts"]
            request_times = np.full(len(rows), cuts[self.part == "test"])
            columns = self.dataset.request_features(request_times) | {"timestamp": request_times}
        else:
            columns = self.reader.request_context(self.target_start[rows], np.ones(len(rows), dtype=bool))
        return {name: array[:, None] for name, array in columns.items()}


def sample_rows(rows: Array, n: int | None, seed: int = 0) -> Array:
    """`n` of the rows (R,), drawn with the seed, in ascending order; all rows if n is None or at least their number."""
    if n is None or n >= len(rows):
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))


def has_queries_at_cut(dataset: Dataset) -> bool:
    """Whether all queries are made at the cut of a time split, where only the time is known of a request."""
    return dataset.metadata["cuts"] is not None and dataset.targets == "all" and dataset.ask == "user"


def find_target_baskets(dataset: Dataset, start: Array, end: Array) -> tuple[Array, Array, Array]:
    """The user, start and end (R,) of each basket that has a target between `start` and `end` (U,)."""
    targets = dataset.target_positions
    user = np.searchsorted(dataset.offsets, targets, "right") - 1
    inside = (targets >= start[user]) & (targets < end[user])
    basket, first = np.unique(dataset.baskets[targets[inside]], return_index=True)
    user = user[inside][first]
    basket_start = np.maximum(np.searchsorted(dataset.baskets, basket), start[user])
    return user, basket_start, np.minimum(np.searchsorted(dataset.baskets, basket, "right"), end[user])


def find_part_bounds(dataset: Dataset, part: str) -> tuple[Array, Array]:
    """Where each user's part starts and ends, two arrays (U,); raises ValueError for an unknown part."""
    if part not in ("validation", "test"):
        raise ValueError(f"part '{part}' is unknown; use validation or test")
    validation, test = dataset.bounds.T
    return (validation, test) if part == "validation" else (test, np.asarray(dataset.offsets[1:]))


def find_first_targets(dataset: Dataset, start: Array, end: Array) -> Array:
    """Where the targets of each user start (U,): at the part, or at its first or last basket if only that is ranked."""
    if dataset.targets == "all":
        return start
    targets = dataset.target_positions
    number = np.searchsorted(targets, start) if dataset.targets == "first" else np.searchsorted(targets, end) - 1
    basket = dataset.baskets[targets[np.clip(number, 0, len(targets) - 1)]]
    return np.clip(np.searchsorted(dataset.baskets, basket, "left"), start, end)


def find_basket_ends(dataset: Dataset, start: Array, end: Array) -> Array:
    """Where the basket that starts at `start` ends (U,)."""
    basket_end = np.searchsorted(dataset.baskets, dataset.baskets[np.minimum(start, len(dataset.baskets) - 1)], "right")
    return np.where(end > start, np.minimum(basket_end, end), end)


def find_distinct_pairs(items: Array) -> tuple[Array, Array]:
    """The rows and items (T,) of the distinct non-zero entries of each row of `items` (B, L), sorted."""
    rows, slots = np.nonzero(items)
    width = int(items.max(initial=0)) + 1
    pairs = np.unique(rows * width + items[rows, slots])
    return pairs // width, pairs % width
