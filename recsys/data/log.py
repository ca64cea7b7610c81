"""The event log as flat arrays, users one after the other and each user's events oldest first.

N events, U users.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from recsys.data.schema import MICROSECONDS

Array = np.ndarray


@dataclass(frozen=True)
class Log:
    """Codes of users and items (int32, from 0), times in microseconds, the number of the basket, and columns.

    `baskets` never falls from one event to the next; an event without a basket is a basket of its own.
    """

    users: Array
    items: Array
    baskets: Array
    timestamps: Array | None = None
    weights: Array | None = None
    extra: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def offsets(self) -> Array:
        """(U+1,) where the events of each user code start."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.users))]).astype(np.int64)

    @cached_property
    def basket_starts(self) -> Array:
        """(N,) the index of the first event of each event's basket."""
        new = np.ones(len(self), dtype=bool)
        new[1:] = self.baskets[1:] != self.baskets[:-1]
        return np.maximum.accumulate(np.where(new, np.arange(len(self)), 0))

    def take(self, index: Array) -> Log:
        """The events at `index`, in its order."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        taken = {name: None if array is None else array[index] for name, array in arrays.items()}
        return replace(self, **taken, extra={name: array[index] for name, array in self.extra.items()})

    def keep(self, mask: Array) -> Log:
        """The events where the mask holds."""
        return self if mask.all() else self.take(np.flatnonzero(mask))


def read_log(path: Path, extra: tuple[str, ...], seed: int) -> Log:
    """The log in a Parquet file sorted by user, time, basket and row; rows inside a basket are shuffled by
    `seed`, since shops sort them by product id and a model would learn that.
    """
    table = pq.read_table(path)
    column = {name: table[name].to_numpy() for name in table.column_names if not name.startswith("extra_")}
    users = column["user_code"].astype(np.int32)
    assert (np.diff(users) >= 0).all(), "the engine did not keep the order"
    baskets = _number_baskets(users, column.get("basket_code"))
    log = Log(
        users,
        column["item_code"].astype(np.int32),
        baskets,
        column.get("timestamp"),
        column["weight"].astype(np.float32) if "weight" in column else None,
        {name: table[f"extra_{name}"].to_pandas().to_numpy() for name in extra},
    )
    return log.take(np.argsort(baskets + np.random.default_rng(seed).random(len(log)), kind="stable"))


def seconds(timestamps: Array) -> Array:
    """Whole seconds of microseconds, rounded down."""
    return timestamps // MICROSECONDS


def _number_baskets(users: Array, codes: Array | None) -> Array:
    if codes is None:
        return np.arange(len(users), dtype=np.int64)
    codes = np.nan_to_num(codes.astype(np.float64), nan=-1)
    new = np.ones(len(users), dtype=bool)
    new[1:] = (users[1:] != users[:-1]) | (codes[1:] != codes[:-1]) | (codes[1:] < 0)
    return np.cumsum(new) - 1
