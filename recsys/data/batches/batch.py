"""Batches of histories, gathered from the flat arrays in one vectorised step.

B users, L history slots, Q queries a user, T targets. Histories are right-padded with 0 and oldest first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.data.dataset import Dataset

Array = np.ndarray
FeatureColumns = dict[str, Tensor]


class ModelInputs(NamedTuple):
    """What a model reads about a batch of users."""

    user: FeatureColumns
    """`id` (B,), 0 for unknown, and user features (B, width)"""
    history: Int[Tensor, "B L"]
    """items, oldest first, padded on the right with 0"""
    events: FeatureColumns
    """columns of past events: `timestamp` (B, L) in seconds, context (B, L, width), types `event` (B, L, 1)"""
    request: FeatureColumns
    """columns known when a query is made: `timestamp` (B, Q) and context (B, Q, width)"""
    positions: Int[Tensor, "B Q"] | None = None
    """query positions: query q of user b sees only the first `positions[b, q]` events"""

    def at_end(self) -> "ModelInputs":
        """The inputs with one query for each user, after the whole history."""
        return self._replace(positions=(self.history > 0).sum(dim=1, keepdim=True))

    @property
    def query_positions(self) -> Int[Tensor, "B Q"]:
        """The positions, where the caller has set them."""
        assert self.positions is not None, "set positions, or take inputs.at_end()"
        return self.positions


@dataclass
class Batch:
    """Users, their histories, and queries that each see the first `positions` events, with targets to learn or rank."""

    user: dict[str, Tensor]
    """`id` (B,), 0 for unknown, and user features (B, width)"""
    history: Int[Tensor, "B L"]
    events: dict[str, Tensor]
    """columns of past events: `timestamp` (B, L) in seconds, context (B, L, width) and, where only some events are
    targets, the type `event` (B, L, 1)"""
    request: dict[str, Tensor]
    """columns known when a query is made: `timestamp` (B, Q) and context (B, Q, width)"""
    positions: Int[Tensor, "B Q"]
    queries: Int[Tensor, " M"]
    """the real queries among the B * Q"""
    targets: Int[Tensor, " T"]
    target_query: Int[Tensor, " T"]
    """the query among the M that each target belongs to, in ascending order"""
    target_starts: Array | None = None
    """(M+1,) where the targets of each query start and end: NumPy's, for losses that cut without asking the device"""
    weights: Float[Tensor, " T"] | None = None
    seen: tuple[Int[Tensor, " S"], Int[Tensor, " S"]] | None = None
    """rows and items to leave out of a ranking"""
    total_weight: float = 1.0
    """the sum of the targets' weights, known without asking the device"""
    n_tokens: int = 0
    """real positions that a model reads, padding excluded"""
    users: Int[Tensor, "B"] | None = None
    """the user of each row, 0..U-1, where rows are ranked; models read `user`"""

    @property
    def inputs(self) -> ModelInputs:
        """The part that a model reads."""
        return ModelInputs(self.user, self.history, self.events, self.request, self.positions)


def pad_positions(starts: Array, lengths: Array) -> tuple[Array, Array]:
    """Positions (B, L) of events in the flat arrays and a mask of the real ones; padding points at 0."""
    slots = np.arange(max(int(lengths.max(initial=0)), 1))[None, :]
    mask = slots < lengths[:, None]
    return np.where(mask, starts[:, None] + slots, 0), mask


class ColumnReader:
    """Gathers the columns of events, users and requests that a dataset has."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.user_features = dataset.features("user")
        self.context = dataset.features("context")

    def history(self, index: Array, mask: Array) -> Array:
        """(B, L) items; those first seen after training are skipped and the rest moved up."""
        items = np.where(mask, self.dataset.items[index], 0).astype(np.int64)
        items[items > self.dataset.n_items] = 0
        return items

    def events(self, index: Array, mask: Array) -> dict[str, Array]:
        """Columns of past events aligned with `index`, 0 where masked."""
        columns = self.request_context(index, mask)
        if self.dataset.events is not None:
            columns["event"] = _apply_mask(self.dataset.events[index], mask)
        return columns

    def request_context(self, index: Array, mask: Array) -> dict[str, Array]:
        """The columns that are known when an event is asked for."""
        columns = {name: _apply_mask(array[index], mask) for name, array in self.context.items()}
        if self.dataset.timestamps is not None:
            columns["timestamp"] = _apply_mask(self.dataset.timestamps[index], mask)
        return columns

    def targets(self, index: Array, mask: Array) -> Array:
        """Which of the real events at `index` are to be predicted."""
        return mask if self.dataset.is_target is None else mask & self.dataset.is_target[index]

    def user(self, users: Array) -> dict[str, Array]:
        """Rows of the users in a user table, and their features."""
        return {"id": self.dataset.user_rows[users]} | {
            name: array[users + 1] for name, array in self.user_features.items()
        }


def to_tensors(columns: dict[str, Array]) -> dict[str, Tensor]:
    """Arrays as tensors: codes as int64, numbers as float32."""
    return {name: to_tensor(array) for name, array in columns.items()}


def to_tensor(array: Array) -> Tensor:
    """An array as float32 or int64."""
    return torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.int64))


def move_up(items: Array, columns: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """Histories whose skipped slots (0) are moved behind the last event, order kept."""
    order = np.argsort(items == 0, axis=1, kind="stable")
    rows = np.arange(len(items))[:, None]
    return items[rows, order], {name: array[rows, order] for name, array in columns.items()}


def truncate_rows(last: Array, items: Array, columns: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The first `last` (B,) slots of each row, the rest 0, trimmed: what the row's last query sees. Positions that
    count from the end then mean the same in training, in any batch, as when ranking.
    """
    mask = np.arange(max(int(last.max(initial=0)), 1)) < last[:, None]
    width = mask.shape[1]
    return np.where(mask, items[:, :width], 0), {
        name: _apply_mask(array[:, :width], mask) for name, array in columns.items()
    }


def select_positions(columns: dict[str, Array], positions: Array) -> dict[str, Array]:
    """Columns (B, Q, …) at some positions (B, Q) of columns (B, L, …)."""
    rows = np.arange(len(positions))[:, None]
    return {name: array[rows, positions] for name, array in columns.items()}


def bucket_by_length(
    lengths: Array, batch_size: int, rng: np.random.Generator | None, window: int = 50
) -> Iterator[Array]:
    """Index arrays of `batch_size` rows of like length: sorted within windows of a shuffled order, batches
    shuffled; without `rng` all is sorted by length.
    """
    if rng is None:
        order = np.argsort(lengths, kind="stable")
        yield from np.split(order, range(batch_size, len(order), batch_size))
        return
    order, batches = rng.permutation(len(lengths)), []
    for start in range(0, len(order), batch_size * window):
        rows = order[start : start + batch_size * window]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += np.split(rows, range(batch_size, len(rows), batch_size))
    yield from (batches[number] for number in rng.permutation(len(batches)))


def _apply_mask(array: Array, mask: Array) -> Array:
    return np.where(mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim)), array, 0).astype(array.dtype)
