"""The event log as flat arrays, users one after the other and each user's events oldest first.

N events, U users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api.types import is_float_dtype

from recsys.data.schema import MICROSECONDS, DataError

Array = np.ndarray


@dataclass(frozen=True)
class Log:
    """Codes of users and items (int32, from 0), times in microseconds, the number of the basket, and columns.

    `baskets` never falls from one event to the next; an event without a basket is a basket of its own. `targets`
    says which events are to be predicted (None: all), `events` of what type each is.
    """

    users: Array
    items: Array
    baskets: Array
    timestamps: Array | None = None
    weights: Array | None = None
    events: Array | None = None
    targets: Array | None = None
    extra: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def offsets(self) -> Array:
        """(U+1,) where the events of each user code start."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.users))]).astype(np.int64)

    @cached_property
    def starts(self) -> Array:
        """(B,) where each basket starts."""
        return np.flatnonzero(np.diff(self.baskets, prepend=-1))

    @cached_property
    def numbers(self) -> Array:
        """(N,) the baskets, numbered from 0 without gaps."""
        return np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(self)))

    def take(self, index: Array) -> Log:
        """The events at `index`, in its order."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        taken: dict[str, Any] = {name: None if array is None else array[index] for name, array in arrays.items()}
        return replace(self, **taken, extra={name: array[index] for name, array in self.extra.items()})

    def keep(self, mask: Array) -> Log:
        """The events where the mask holds."""
        return self if mask.all() else self.take(np.flatnonzero(mask))


def read_log(path: Path, extra: tuple[str, ...], target_events: Sequence[str] | None, seed: int) -> Log:
    """The log in a Parquet file sorted by user, time, basket and row; rows inside a basket are shuffled by
    `seed`, since shops sort them by product id and a model would learn that. DataError for an unknown target event.
    """
    table = pq.read_table(path)
    column = {name: table[name].to_numpy() for name in table.column_names if not name.startswith("extra_")}
    users = column["user_code"].astype(np.int32)
    assert (np.diff(users) >= 0).all(), "the engine did not keep the order"
    baskets = _number_baskets(users, column.get("basket_code"))
    events, targets = _targets(column.get("event"), target_events)
    log = Log(
        users,
        column["item_code"].astype(np.int32),
        baskets,
        column.get("timestamp"),
        column["weight"].astype(np.float32) if "weight" in column else None,
        events,
        targets,
        {name: plain_pandas(table.select([f"extra_{name}"])).iloc[:, 0].to_numpy() for name in extra},
    )
    return log.take(np.argsort(baskets + np.random.default_rng(seed).random(len(log)), kind="stable"))


def _targets(events: Array | None, names: Sequence[str] | None) -> tuple[Array | None, Array | None]:
    """The events and a mask of those with a target's name; None where all are targets."""
    if names is None:
        return None, None
    if events is None:
        raise DataError("data.target_events needs the type of each event; name its column under data.columns.event")
    found = {str(name) for name in pd.unique(events) if name is not None}
    missing = set(names) - found
    if missing:
        raise DataError(f"no event is {sorted(missing)}, named in data.target_events; there are: {sorted(found)}")
    return events, np.isin(events.astype(str), list(names))


def plain_pandas(table: pa.Table) -> pd.DataFrame:
    """The table in memory; only floats stay numbers, so that a missing value never makes whole numbers floats."""
    frame = table.to_pandas(integer_object_nulls=True)
    return frame.astype({name: object for name in frame.columns if not is_float_dtype(frame[name])})


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
