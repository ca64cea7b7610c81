"""The event log as flat arrays, users one after the other and each user's events oldest first.

N events, U users.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from pandas.api.types import is_float_dtype

from recsys.data.schema import MICROSECONDS
from recsys.errors import DataError

Array = np.ndarray
BLOCK = 1 << 20
"""events that are worked on at a time"""


@dataclass(frozen=True)
class Log:
    """Codes of users and items (int32, from 0), times in microseconds, the number of the basket, and columns.

    `baskets` never falls from one event to the next; an event without a basket is a basket of its own (None: all are).
    `targets` says which events are to be predicted (None: all), `events` of what type each is.
    """

    users: Array
    items: Array
    baskets: Array | None = None
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
        return np.concatenate([[0], np.cumsum(counted(self.users))]).astype(np.int64)

    @cached_property
    def starts(self) -> Array:
        """(B,) where each basket starts."""
        return np.arange(len(self)) if self.baskets is None else np.flatnonzero(np.diff(self.baskets, prepend=-1))

    @cached_property
    def numbers(self) -> Array:
        """(N,) the baskets, numbered from 0 without gaps."""
        return np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(self)))

    def start_of(self, event: Array) -> Array:
        """Where the baskets of some events start."""
        return event if self.baskets is None else self.starts[self.numbers[event]]

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
    `seed`, since shops sort them by product id and a model would learn that. Numbers lie in files beside it, so that
    the system may take their memory back. DataError for an unknown target event.
    """
    names = pyarrow.dataset.dataset(path).schema.names
    users = _column(path, "user_code", np.int32)
    assert all((np.diff(part) >= 0).all() for _, part in blocks(users, overlap=1)), "the engine did not keep the order"
    codes, events = (
        pq.read_table(path, columns=[name])[name].to_numpy() if name in names else None
        for name in ("basket_code", "event")
    )
    events, targets = _targets(events, target_events)
    log = Log(
        users,
        _column(path, "item_code", np.int32),
        None if codes is None else _number_baskets(users, codes),
        _column(path, "timestamp", np.int64) if "timestamp" in names else None,
        _column(path, "weight", np.float32) if "weight" in names else None,
        events,
        targets,
        {name: plain_pandas(pq.read_table(path, columns=[f"extra_{name}"])).iloc[:, 0].to_numpy() for name in extra},
    )
    if log.baskets is None:
        return log
    return log.take(np.argsort(log.baskets + np.random.default_rng(seed).random(len(log)), kind="stable"))


def _column(path: Path, name: str, dtype: type) -> Array:
    """A column without gaps, in a file of its own."""
    table = pyarrow.dataset.dataset(path)
    some = table.to_batches(columns=[name], batch_size=BLOCK, batch_readahead=1, fragment_readahead=1)
    parts = (batch.column(0).to_numpy(zero_copy_only=False) for batch in some)
    column = written(path.with_name(f"{name}.npy"), dtype, table.count_rows(), parts)
    pa.default_memory_pool().release_unused()
    return column


def written(path: Path, dtype: type, n: int, parts: Iterable[Array]) -> Array:
    """(N,) parts one after the other, mapped from the file that they are written into: not by a map, which a full disk
    would turn into a crash.
    """
    with path.open("wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (n,)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part, dtype).data)
    mapped: Array = np.load(path, mmap_mode="r" if n else None)
    return mapped


def blocks(array: Array, overlap: int = 0) -> Iterator[tuple[slice, Array]]:
    """An array in parts that need little memory, and where they are; each may begin in the one before. Of an array that
    is mapped from a file only one part is in memory.
    """
    for start in range(0, len(array), BLOCK):
        part = slice(max(start - overlap, 0), start + BLOCK)
        yield part, array[part]
        if isinstance(array, np.memmap):
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def before(bound: Array, offsets: Array) -> Array:
    """(N,) bool: the events of each user before a bound (U,), without a number an event."""
    inside = np.clip(bound, offsets[:-1], offsets[1:])
    lengths = np.stack([inside - offsets[:-1], offsets[1:] - inside], axis=1)
    return np.repeat(np.tile([True, False], len(lengths)), lengths.ravel())


def counted(codes: Array, n: int = 0, mask: Array | None = None) -> Array:
    """How often each code occurs (where the mask holds), `n` counts at least: np.bincount copies all codes."""
    highest = max((int(part.max()) for _, part in blocks(codes)), default=-1)
    counts = np.zeros(max(n, highest + 1), dtype=np.int64)
    for part, some in blocks(codes):
        counts += np.bincount(some if mask is None else some[mask[part]], minlength=len(counts))
    return counts


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


def _number_baskets(users: Array, codes: Array) -> Array:
    codes = np.nan_to_num(codes.astype(np.float64), nan=-1)
    new = np.ones(len(users), dtype=bool)
    new[1:] = (users[1:] != users[:-1]) | (codes[1:] != codes[:-1]) | (codes[1:] < 0)
    return np.cumsum(new) - 1
