"""The event log as flat arrays: one user after the other, each user's events oldest first.

N events, U users, B baskets.
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
"""events that are processed at a time"""


@dataclass(frozen=True)
class EventLog:
    """Codes of users and items (int32, from 0), basket numbers, times in microseconds, and further columns.

    `baskets` never decreases from one event to the next; an event without a basket is a basket by itself (None: all
    are). `is_target` marks the events to be predicted (None: all).
    """

    users: Array
    items: Array
    baskets: Array | None = None
    timestamps: Array | None = None
    weights: Array | None = None
    event_types: Array | None = None
    is_target: Array | None = None
    extra: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def offsets(self) -> Array:
        """(U+1,) where the events of each user code start."""
        return np.concatenate([[0], np.cumsum(count_codes(self.users))]).astype(np.int64)

    @cached_property
    def basket_starts(self) -> Array:
        """(B,) where each basket starts."""
        return np.arange(len(self)) if self.baskets is None else np.flatnonzero(np.diff(self.baskets, prepend=-1))

    @cached_property
    def basket_numbers(self) -> Array:
        """(N,) the number of each event's basket, from 0 without gaps."""
        return np.repeat(np.arange(len(self.basket_starts)), np.diff(self.basket_starts, append=len(self)))

    def basket_start_of(self, event: Array) -> Array:
        """Where the baskets of some events start."""
        return event if self.baskets is None else self.basket_starts[self.basket_numbers[event]]

    def take(self, index: Array) -> EventLog:
        """The events at `index`, in its order."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        taken: dict[str, Any] = {name: None if array is None else array[index] for name, array in arrays.items()}
        return replace(self, **taken, extra={name: array[index] for name, array in self.extra.items()})

    def keep(self, mask: Array) -> EventLog:
        """The events in the mask."""
        return self if mask.all() else self.take(np.flatnonzero(mask))


def read_log(path: Path, extra: tuple[str, ...], target_events: Sequence[str] | None, seed: int) -> EventLog:
    """The log in a Parquet file that is sorted by user, time, basket and row.

    Rows inside a basket are shuffled by `seed`: shops sort them by product id, and a model would learn that. Arrays are
    mapped from files beside the log, so that the system can take their memory back. Raises DataError for an unknown
    target event.
    """
    names = pyarrow.dataset.dataset(path).schema.names
    users = _read_column(path, "user_code", np.int32)
    sorted_blocks = ((np.diff(block) >= 0).all() for _, block in iterate_blocks(users, overlap=1))
    assert all(sorted_blocks), "the engine did not keep the order"
    codes, event_types = (
        pq.read_table(path, columns=[name])[name].to_numpy() if name in names else None
        for name in ("basket_code", "event")
    )
    event_types, is_target = _find_targets(event_types, target_events)
    log = EventLog(
        users,
        _read_column(path, "item_code", np.int32),
        None if codes is None else _number_baskets(users, codes),
        _read_column(path, "timestamp", np.int64) if "timestamp" in names else None,
        _read_column(path, "weight", np.float32) if "weight" in names else None,
        event_types,
        is_target,
        {name: to_plain_pandas(pq.read_table(path, columns=[f"extra_{name}"])).iloc[:, 0].to_numpy() for name in extra},
    )
    if log.baskets is None:
        return log
    return log.take(np.argsort(log.baskets + np.random.default_rng(seed).random(len(log)), kind="stable"))


def _read_column(path: Path, name: str, dtype: type) -> Array:
    """A column without nulls, mapped from a file of its own."""
    table = pyarrow.dataset.dataset(path)
    batches = table.to_batches(columns=[name], batch_size=BLOCK, batch_readahead=1, fragment_readahead=1)
    blocks = (batch.column(0).to_numpy(zero_copy_only=False) for batch in batches)
    column = write_array(path.with_name(f"{name}.npy"), dtype, table.count_rows(), blocks)
    pa.default_memory_pool().release_unused()
    return column


def write_array(path: Path, dtype: type, n: int, blocks: Iterable[Array]) -> Array:
    """(N,) the blocks one after the other, written into a file and mapped from it.

    The file is not written through a memory map: on a full disk that would crash the process.
    """
    with path.open("wb") as file:
        header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (n,)}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype).data)
    mapped: Array = np.load(path, mmap_mode="r" if n else None)
    return mapped


def iterate_blocks(array: Array, overlap: int = 0) -> Iterator[tuple[slice, Array]]:
    """The slices and the content of an array's blocks of BLOCK events; each may begin `overlap` events earlier.

    If the array is mapped from a file, only one block is in memory at a time.
    """
    for start in range(0, len(array), BLOCK):
        block = slice(max(start - overlap, 0), start + BLOCK)
        yield block, array[block]
        if isinstance(array, np.memmap):
            array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def mask_before(bound: Array, offsets: Array) -> Array:
    """(N,) bool: the events of each user before a bound (U,); needs no number per event."""
    inside = np.clip(bound, offsets[:-1], offsets[1:])
    lengths = np.stack([inside - offsets[:-1], offsets[1:] - inside], axis=1)
    return np.repeat(np.tile([True, False], len(lengths)), lengths.ravel())


def count_codes(codes: Array, n: int = 0, mask: Array | None = None) -> Array:
    """How often each code occurs (in the mask), at least `n` counts; unlike np.bincount it does not copy all codes."""
    highest = max((int(block.max()) for _, block in iterate_blocks(codes)), default=-1)
    counts = np.zeros(max(n, highest + 1), dtype=np.int64)
    for position, block in iterate_blocks(codes):
        counts += np.bincount(block if mask is None else block[mask[position]], minlength=len(counts))
    return counts


def _find_targets(event_types: Array | None, names: Sequence[str] | None) -> tuple[Array | None, Array | None]:
    """The types of events and a mask of those in `names`; None where all events are targets."""
    if names is None:
        return None, None
    if event_types is None:
        raise DataError("data.target_events needs the type of each event; name its column under data.columns.event")
    present = {str(name) for name in pd.unique(event_types) if name is not None}
    missing = set(names) - present
    if missing:
        raise DataError(f"data.target_events names {sorted(missing)}, which no event has; there are: {sorted(present)}")
    return event_types, np.isin(event_types.astype(str), list(names))


def to_plain_pandas(table: pa.Table) -> pd.DataFrame:
    """The table in memory; only floats become numbers, so that a missing value never makes whole numbers floats."""
    frame = table.to_pandas(integer_object_nulls=True)
    return frame.astype({name: object for name in frame.columns if not is_float_dtype(frame[name])})


def to_seconds(timestamps: Array) -> Array:
    """Whole seconds of microseconds, rounded down."""
    return timestamps // MICROSECONDS


def _number_baskets(users: Array, codes: Array) -> Array:
    """(N,) basket numbers from 0; a new one for each user, each change of code and each event without a code."""
    codes = np.nan_to_num(codes.astype(np.float64), nan=-1)
    new = np.ones(len(users), dtype=bool)
    new[1:] = (users[1:] != users[:-1]) | (codes[1:] != codes[:-1]) | (codes[1:] < 0)
    return np.cumsum(new) - 1
