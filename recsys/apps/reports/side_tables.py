"""The tables of items and users beside a log, with all their columns, whether models use them or not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from recsys.config.build import build
from recsys.data.dataset import Dataset
from recsys.data.engines.duckdb import open_engine
from recsys.data.features import Features
from recsys.data.preparation.consent import make_pseudonymizer
from recsys.data.preparation.side_tables import select_side_tables
from recsys.data.settings import DataSettings
from recsys.errors import ConfigError

Tables = dict[str, pd.DataFrame]
TITLES = ("title", "name", "description")
"""columns that are taken for the items' titles where none is named"""
FEW = range(2, 51)
"""distinct values of a column that items are coloured by where none is named"""


def side_by_side(data: Mapping[str, Any], dataset: Dataset) -> Tables:
    """By `item` and `user` what the source of the settings under `data` says of those of the dataset, in the order of
    their numbers; null where the table lacks one, nothing where there is no table.
    """
    node: DictConfig = OmegaConf.create({"data": dict(data)}).data
    found = read(build(node))
    ids = {"item": dataset.raw_items, "user": dataset.raw_users}
    return {kind: table.reindex([str(raw) for raw in ids[kind]().to_pylist()]) for kind, table in found.items()}


def read(settings: DataSettings) -> Tables:
    """The tables of a source, indexed by id as text, and a column `_row` that is never null."""
    columns = settings.columns
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".looking-", dir=settings.folder) as work, open_engine(Path(work)) as engine:
        tables = settings.source.read(engine)
        keys = {"item": (tables.items, columns.item), "user": (tables.users, columns.user)}
        names = {
            kind: [name for name in table.columns if name not in (key, "_row")]
            for kind, (table, key) in keys.items()
            if table is not None and key in table.columns
        }
        found = select_side_tables(
            tables, columns, Features(user=names.get("user", ()), item=names.get("item", ())), engine
        )
    if "user" in found:
        found["user"].index = found["user"].index.map(make_pseudonymizer(settings.privacy))
    return {kind: table.assign(_row=True) for kind, table in found.items()}


def missing(table: pd.DataFrame) -> dict[str, float]:
    """The share of rows that a table lacks, under "the whole row", and of those whose cell is null or blank."""
    shares = table.apply(_blank).mean()
    return {"the whole row": float(shares.pop("_row")), **{str(name): float(share) for name, share in shares.items()}}


def titles(table: pd.DataFrame | None, named: str | None, ids: Sequence[Any]) -> list[str]:
    """What items are called: by the column `named`, else by one that is named as titles are, else by their raw ids."""
    column = named or next((name for name in TITLES if table is not None and name in table.columns), None)
    raw = [str(one) for one in ids]
    if column is None:
        return raw
    found = _column(table, column, "title")
    return [one if pd.isna(title) else str(title) for one, title in zip(raw, found, strict=True)]


def categories(table: pd.DataFrame | None, named: str | None, used: Sequence[str], separator: str) -> pd.Series | None:
    """The first value of each item: in the column `named`, else in the first of those that models use, else in the
    first of few texts; None where there is none.
    """
    there = [] if table is None else [str(name) for name in table.columns if name != "_row"]
    for name in [named] if named else [*used, *there]:
        first = _column(table, name, "category").map(lambda cell: _first(cell, separator), na_action="ignore")
        few = first.nunique() in FEW and pd.to_numeric(first, errors="coerce").isna().any()
        if named or name in used or few:
            return first
    return None


def _column(table: pd.DataFrame | None, name: str, setting: str) -> pd.Series:
    if table is None:
        raise ConfigError(f"{setting}={name}: the data have no table of items; name one under data.source.items")
    if name not in table.columns:
        there = ", ".join(str(column) for column in table.columns if column != "_row")
        raise ConfigError(f"{setting}={name}: the table of items has no such column; there are: {there}")
    return table[name]


def _blank(column: pd.Series) -> pd.Series:
    """Where a column is null, or text without a letter."""
    return column.isna() | (column.map(str).str.strip() == "")


def _first(cell: Any, separator: str) -> str:
    """The first of the values in a list, or in text with a separator."""
    values = str(cell).split(separator) if isinstance(cell, str) or not np.iterable(cell) else [*map(str, cell), ""]
    return values[0].strip()
