"""Batches of histories, gathered from flat arrays in one vectorised step.

B users, L history slots, Q queries per user, M real queries, T targets. Histories have the oldest event first and are
padded on the right with 0.
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
    """The inputs of a model: users, their histories, and the requests to be ranked for."""

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
        """The positions, which the caller must have set."""
        assert self.positions is not None, "inputs.positions is None; set it, or use inputs.at_end()"
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
    """the real queries, as indices into the flattened (B, Q)"""
    targets: Int[Tensor, " T"]
    target_query: Int[Tensor, " T"]
    """the query of each target, as an index into `queries`, in ascending order"""
    target_starts: Array | None = None
    """(M+1,) where the targets of each query start and end; in NumPy, so that losses need not wait for the device"""
    weights: Float[Tensor, " T"] | None = None
    """the weight of each target; None: 1"""
    seen: tuple[Int[Tensor, " S"], Int[Tensor, " S"]] | None = None
    """rows and items to leave out of the ranking"""
    total_weight: float = 1.0
    """the sum of the targets' weights, a float so that nothing waits for the device"""
    n_tokens: int = 0
    """events that a model reads, without padding"""
    users: Int[Tensor, "B"] | None = None
    """the index of each row's user, 0..U-1, in batches to be ranked; models read `user` instead"""

    @property
    def inputs(self) -> ModelInputs:
        """The inputs of a model."""
        return ModelInputs(self.user, self.history, self.events, self.request, self.positions)


def pad_positions(starts: Array, lengths: Array) -> tuple[Array, Array]:
    """Indices (B, L) of events in the flat arrays, 0 for padding, and a mask of the real ones."""
    slots = np.arange(max(int(lengths.max(initial=0)), 1))[None, :]
    mask = slots < lengths[:, None]
    return np.where(mask, starts[:, None] + slots, 0), mask


class ColumnReader:
    """Gathers a dataset's columns of events, users and requests."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.user_features = dataset.features("user")
        self.context = dataset.features("context")

    def history(self, index: Array, mask: Array) -> Array:
        """Items (B, L); 0 for padding and for items first seen after training."""
        items = np.where(mask, self.dataset.items[index], 0).astype(np.int64)
        items[items > self.dataset.n_items] = 0
        return items

    def events(self, index: Array, mask: Array) -> dict[str, Array]:
        """The columns of past events at `index`, 0 for padding."""
        columns = self.request_context(index, mask)
        if self.dataset.events is not None:
            columns["event"] = _apply_mask(self.dataset.events[index], mask)
        return columns

    def request_context(self, index: Array, mask: Array) -> dict[str, Array]:
        """The columns that are known before the event at `index`, as a request has them: time and context."""
        columns = {name: _apply_mask(array[index], mask) for name, array in self.context.items()}
        if self.dataset.timestamps is not None:
            columns["timestamp"] = _apply_mask(self.dataset.timestamps[index], mask)
        return columns

    def targets(self, index: Array, mask: Array) -> Array:
        """Whether each event at `index` is real and a target."""
        return mask if self.dataset.is_target is None else mask & self.dataset.is_target[index]

    def user(self, users: Array) -> dict[str, Array]:
        """The users' ids in the user table, and their features."""
        return {"id": self.dataset.user_rows[users]} | {
            name: array[users + 1] for name, array in self.user_features.items()
        }


def to_tensors(columns: dict[str, Array]) -> dict[str, Tensor]:
    """Arrays as tensors: codes as int64, numbers as float32."""
    return {name: to_tensor(array) for name, array in columns.items()}


def to_tensor(array: Array) -> Tensor:
    """An array as a tensor of float32 or int64."""
    return torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.int64))


def move_up(items: Array, columns: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """Histories whose skipped slots (0) are moved behind the last event; the order of events stays."""
    order = np.argsort(items == 0, axis=1, kind="stable")
    rows = np.arange(len(items))[:, None]
    return items[rows, order], {name: array[rows, order] for name, array in columns.items()}


def truncate_rows(last: Array, items: Array, columns: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The first `last` (B,) slots of each row, which its last query sees; later slots are 0, or cut off for all rows.

    Positions that count back from the end then mean the same in training as in ranking, in any batch.
    """
    mask = np.arange(max(int(last.max(initial=0)), 1)) < last[:, None]
    width = mask.shape[1]
    return np.where(mask, items[:, :width], 0), {
        name: _apply_mask(array[:, :width], mask) for name, array in columns.items()
    }


def select_positions(columns: dict[str, Array], positions: Array) -> dict[str, Array]:
    """The columns (B, Q, …) at some positions (B, Q) of columns (B, L, …)."""
    rows = np.arange(len(positions))[:, None]
    return {name: array[rows, positions] for name, array in columns.items()}


def bucket_by_length(
    lengths: Array, batch_size: int, rng: np.random.Generator | None, window: int = 50
) -> Iterator[Array]:
    """Index arrays of `batch_size` rows of similar length.

    Rows are shuffled, sorted by length within windows of `window` batches, and the batches shuffled; without `rng`, all
    rows are sorted by length.
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
