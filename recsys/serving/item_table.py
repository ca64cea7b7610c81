"""A shop's table of items, by raw id, which is read again when its file changes."""

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
from recsys.serving.file_version import read_file_version

log = logging.getLogger(__name__)


class ItemTable:
    """A Parquet or CSV file with one row per item. Raises ConfigError if it cannot be read or its ids are unusable."""

    def __init__(self, path: str | Path, item: str = "item") -> None:
        self.path, self.item = Path(path), item
        self._cache: dict[tuple[str, str], Any] = {}
        self._load()

    async def refresh(self) -> None:
        """Read the file again if it was replaced. A file that cannot be read is tried once, and the old table stays."""
        if read_file_version(self.path) == self._version:
            return
        try:
            await asyncio.to_thread(self._load)
        except (ConfigError, OSError) as error:
            log.error("items not read again", extra={"path": str(self.path), "reason": str(error)})

    def rows(self, items: Sequence[str]) -> np.ndarray:
        """Return (n,) the row of each raw id; ids that the table lacks get the last row, which is all null."""
        return np.array([self._row.get(item, len(self._row)) for item in items], np.int64)

    def numbers(self, column: str) -> np.ndarray:
        """Return (rows + 1,) a column as float64, times in seconds, null as NaN; raises ConfigError for text."""
        return self._read_once("numbers", column, self._read_numbers)

    def codes(self, column: str) -> np.ndarray:
        """Return (rows + 1,) an integer for each distinct value of a column, −1 for null."""
        return self._read_once("codes", column, self._read_codes)

    def texts(self, column: str) -> list[Any]:
        """Return (rows + 1) the values of a column as text; None for null."""
        return self._read_once("texts", column, lambda name: _convert_to_text(self._get_column(name)))

    def _read_numbers(self, name: str) -> np.ndarray:
        column = self._get_column(name)
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("us")).cast(pa.int64())
            return np.append(column.to_numpy(zero_copy_only=False).astype(float) / 1e6, np.nan)
        try:
            return np.append(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.nan)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConfigError(f"column '{name}' of '{self.path}' is not numeric ({column.type})") from error

    def _read_codes(self, name: str) -> np.ndarray:
        column = self._get_column(name).dictionary_encode()
        return np.append(column.indices.fill_null(-1).to_numpy(zero_copy_only=False), -1)

    def _read_once(self, form: str, column: str, read: Callable[[str], Any]) -> Any:
        if (form, column) not in self._cache:
            self._cache[form, column] = read(column)
        return self._cache[form, column]

    def _get_column(self, name: str) -> Any:
        return self._select(self._table, name)

    def _select(self, table: pa.Table, name: str) -> Any:
        if name not in table.column_names:
            raise ConfigError(f"'{self.path}' has no column '{name}'; it has: {', '.join(table.column_names)}")
        return table[name].combine_chunks()

    def _load(self) -> None:
        self._version = read_file_version(self.path)
        if self._version is None:
            raise ConfigError(f"there is no file '{self.path}'; give a table of items")
        try:
            table = read_item_table(self.path, self.item)
        except pa.ArrowInvalid as error:
            raise ConfigError(f"'{self.path}' is not a table of items: {error}") from error
        ids = _convert_to_text(self._select(table, self.item))[:-1]
        if None in ids or len(set(ids)) < len(ids):
            raise ConfigError(
                f"column '{self.item}' of '{self.path}' has empty or repeated ids; write one row per item, with its id"
            )
        self._table, self._cache = table, {}
        self._row = {item: row for row, item in enumerate(ids)}


def read_item_table(path: Path, item: str) -> pa.Table:
    """Return the table of a CSV or Parquet file; raw ids of a CSV are read as text. Raises what pyarrow raises."""
    if path.suffix != ".csv":
        return pyarrow.parquet.read_table(path)
    as_text = pyarrow.csv.ConvertOptions(column_types={item: pa.string()})  # 0007 stays 0007
    return pyarrow.csv.read_csv(path, convert_options=as_text)


def _convert_to_text(column: Any) -> list[Any]:
    return [None if value is None else str(value) for value in column.to_pylist()] + [None]
