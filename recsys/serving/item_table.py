"""What a shop knows of its items beside the model: a table by raw id, read again when its file changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from recsys.errors import ConfigError
from recsys.serving.file_version import stamp

log = logging.getLogger(__name__)


class ItemTable:
    """A Parquet or CSV file with a row an item. Raises ConfigError for one that cannot be read or has no such ids."""

    def __init__(self, path: str | Path, item: str = "item") -> None:
        self.path, self.item = Path(path), item
        self._known: dict[tuple[str, str], Any] = {}
        self._load()

    async def refresh(self) -> None:
        """Read the file again if another has taken its place; one that cannot be read is tried once, and leaves the old
        table.
        """
        if stamp(self.path) == self._stamp:
            return
        try:
            await asyncio.to_thread(self._load)
        except (ConfigError, OSError) as error:
            log.error("items not read again", extra={"path": str(self.path), "reason": str(error)})

    def rows(self, items: Sequence[str]) -> np.ndarray:
        """(n,) the row of each raw id; the last one, which is all null, for those that the table lacks."""
        return np.array([self._row.get(item, len(self._row)) for item in items], np.int64)

    def numbers(self, column: str) -> np.ndarray:
        """(rows + 1,) a column as float64, NaN for null; ConfigError if it holds anything else. Times are seconds."""
        return self._kept("numbers", column, self._numbers)

    def codes(self, column: str) -> np.ndarray:
        """(rows + 1,) a number for each distinct value of a column, −1 for null."""
        return self._kept("codes", column, self._codes)

    def texts(self, column: str) -> list[Any]:
        """(rows + 1) values of a column as text; None for null."""
        return self._kept("texts", column, lambda name: _texts(self._column(name)))

    def _numbers(self, column: str) -> np.ndarray:
        found = self._column(column)
        if pa.types.is_timestamp(found.type) or pa.types.is_date(found.type):
            found = found.cast(pa.timestamp("us")).cast(pa.int64())
            return np.append(found.to_numpy(zero_copy_only=False).astype(float) / 1e6, np.nan)
        try:
            return np.append(found.cast(pa.float64()).to_numpy(zero_copy_only=False), np.nan)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConfigError(f"column '{column}' of '{self.path}' holds no numbers ({found.type})") from error

    def _codes(self, column: str) -> np.ndarray:
        found = self._column(column).dictionary_encode()
        return np.append(found.indices.fill_null(-1).to_numpy(zero_copy_only=False), -1)

    def _kept(self, kind: str, column: str, read: Callable[[str], Any]) -> Any:
        """A column as it was read the first time."""
        if (kind, column) not in self._known:
            self._known[kind, column] = read(column)
        return self._known[kind, column]

    def _column(self, name: str) -> Any:
        return self._column_of(self._table, name)

    def _column_of(self, table: pa.Table, name: str) -> Any:
        if name not in table.column_names:
            raise ConfigError(f"'{self.path}' has no column '{name}'; it has: {', '.join(table.column_names)}")
        return table[name].combine_chunks()

    def _load(self) -> None:
        self._stamp = stamp(self.path)
        if self._stamp is None:
            raise ConfigError(f"there is no file '{self.path}'; give a table of items")
        try:
            table = read_items(self.path, self.item)
        except pa.ArrowInvalid as error:
            raise ConfigError(f"'{self.path}' is no table of items: {error}") from error
        ids = _texts(self._column_of(table, self.item))[:-1]
        if None in ids or len(set(ids)) < len(ids):
            raise ConfigError(f"column '{self.item}' of '{self.path}' has empty or repeated ids; an item has one row")
        self._table, self._known = table, {}
        self._row = {item: row for row, item in enumerate(ids)}


def read_items(path: Path, item: str) -> pa.Table:
    """A CSV or Parquet file, raw ids of a CSV as text; raises what pyarrow raises."""
    if path.suffix != ".csv":
        return pyarrow.parquet.read_table(path)
    as_text = pyarrow.csv.ConvertOptions(column_types={item: pa.string()})  # 0007 is no number
    return pyarrow.csv.read_csv(path, convert_options=as_text)


def _texts(column: Any) -> list[Any]:
    return [None if value is None else str(value) for value in column.to_pylist()] + [None]
