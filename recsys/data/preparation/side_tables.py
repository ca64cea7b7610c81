"""The columns of the user and item tables that features and segments need."""

import narwhals.stable.v2 as nw
import pandas as pd

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.event_log import to_plain_pandas
from recsys.data.features import Features
from recsys.data.preparation.validation import normalize_ids
from recsys.data.schema import Columns
from recsys.data.sources.files import Tables
from recsys.errors import DataError


def select_side_tables(tables: Tables, columns: Columns, features: Features, engine: Engine) -> dict[str, pd.DataFrame]:
    """The tables `user` and `item`, only with the columns that features and segments need, indexed by id as text."""
    selected = {}
    for entity, table, key in (("user", tables.users, columns.user), ("item", tables.items, columns.item)):
        texts = [*features.text] if entity == "item" else []
        names = dict.fromkeys(features.columns(entity) + texts + features.segment_columns(entity))
        if names:
            frame = select_columns_by_id(table, entity, key, list(names), engine)
            selected[entity] = frame[~frame.index.duplicated()]
    return selected


def select_columns_by_id(table: Frame | None, entity: str, key: str, names: list[str], engine: Engine) -> pd.DataFrame:
    """Some columns of a user or item table, indexed by id as text; DataError where it has no such columns."""
    if table is None:
        required = ", ".join(f"{entity}.{name}" for name in names)
        raise DataError(
            f"data.features names {required} but there is no {entity} table: name it under data.source.{entity}s"
        )
    missing = [name for name in (key, *names) if name not in table.columns]
    if missing:
        raise DataError(
            f"column {', '.join(map(repr, missing))} is missing from the {entity} table; "
            f"there are: {', '.join(name for name in table.columns if name != '_row')}"
        )
    selected = table.select(nw.col(key).alias("_id"), *map(nw.col, names))
    frame = to_plain_pandas(normalize_ids(selected, "_id", engine).collect("pyarrow").to_native())
    frame = frame.dropna(subset=["_id"]).astype({"_id": str})
    return frame.set_index("_id")
