"""The item and user tables of a data source, with all their columns, whether models use them or not."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from recsys.data.dataset import Dataset
from recsys.data.engines.duckdb import open_engine
from recsys.data.features import Features
from recsys.data.preparation.consent import make_pseudonymizer
from recsys.data.preparation.side_tables import select_side_tables
from recsys.data.settings import DataSettings
from recsys.errors import ConfigError

Tables = dict[str, pd.DataFrame]
TITLES = ("title", "name", "description")
"""columns that are tried as titles of the items where no column is named"""
CATEGORY_COUNTS = range(2, 51)
"""distinct values of a column that can colour the items where no column is named"""


def load_side_tables(settings: DataSettings, dataset: Dataset) -> Tables:
    """The `item` and `user` tables of the source, with one row for each item and user of the dataset in the order of
    their numbers: nulls where the table lacks the row, no entry where there is no table.
    """
    ids = {"item": dataset.raw_items, "user": dataset.raw_users}
    tables = read_side_tables(settings)
    return {name: table.reindex([str(raw) for raw in ids[name]().to_pylist()]) for name, table in tables.items()}


def read_side_tables(settings: DataSettings) -> Tables:
    """The `item` and `user` tables of the source, indexed by id as text, with a column `_row` that is never null."""
    columns = settings.columns
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".side-tables-", dir=settings.folder) as work, open_engine(Path(work)) as engine:
        tables = settings.source.read(engine)
        keys = {"item": (tables.items, columns.item), "user": (tables.users, columns.user)}
        names = {
            table_name: [name for name in table.columns if name not in (key, "_row")]
            for table_name, (table, key) in keys.items()
            if table is not None and key in table.columns
        }
        features = Features(user=names.get("user", ()), item=names.get("item", ()))
        loaded = select_side_tables(tables, columns, features, engine)
    if "user" in loaded:
        loaded["user"].index = loaded["user"].index.map(make_pseudonymizer(settings.privacy))
    return {name: table.assign(_row=True) for name, table in loaded.items()}


def compute_missing_shares(table: pd.DataFrame) -> dict[str, float]:
    """The fraction of cells that are null or blank by column, and of missing rows under "the whole row"."""
    fractions = table.apply(_mask_blank).mean()
    whole_row = float(fractions.pop("_row"))
    return {"the whole row": whole_row, **{str(name): float(fraction) for name, fraction in fractions.items()}}


def choose_item_titles(table: pd.DataFrame | None, column: str | None, ids: Sequence[Any]) -> list[str]:
    """The titles of the items: from `column`, else from the first of TITLES that the table has, else their raw ids."""
    column = column or next((name for name in TITLES if table is not None and name in table.columns), None)
    raw_ids = [str(raw) for raw in ids]
    if column is None:
        return raw_ids
    titles = _get_column(table, column, "title")
    return [raw if pd.isna(title) else str(title) for raw, title in zip(raw_ids, titles, strict=True)]


def choose_item_categories(
    table: pd.DataFrame | None, column: str | None, features: Sequence[str], separator: str
) -> pd.Series | None:
    """The first value of each item in `column`, else in the first of the model's `features`, else in the first text
    column with few distinct values; None where there is no such column.
    """
    available = [] if table is None else [str(name) for name in table.columns if name != "_row"]
    for name in [column] if column else [*features, *available]:
        cells = _get_column(table, name, "category")
        categories = cells.map(lambda cell: _first_value(cell, separator), na_action="ignore")
        if column or name in features or _looks_categorical(categories):
            return categories
    return None


def _looks_categorical(values: pd.Series) -> bool:
    return values.nunique() in CATEGORY_COUNTS and bool(pd.to_numeric(values, errors="coerce").isna().any())


def _get_column(table: pd.DataFrame | None, name: str, setting: str) -> pd.Series:
    if table is None:
        raise ConfigError(f"{setting}={name}: the data have no item table; name one under data.source.items")
    if name not in table.columns:
        available = ", ".join(str(column) for column in table.columns if column != "_row")
        raise ConfigError(f"{setting}={name}: the item table has no such column; it has: {available}")
    return table[name]


def _mask_blank(column: pd.Series) -> pd.Series:
    """Where a column is null or contains only white space."""
    return column.isna() | (column.map(str).str.strip() == "")


def _first_value(cell: Any, separator: str) -> str:
    """The first value of a list, or of a text with separators."""
    values = str(cell).split(separator) if isinstance(cell, str) or not np.iterable(cell) else [*map(str, cell), ""]
    return values[0].strip()
