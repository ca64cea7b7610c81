"""Joins a table of context, such as the weather by place and hour, to the events."""

from typing import Any

import narwhals.stable.v2 as nw

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.features import Features
from recsys.data.preparation.validation import normalize_ids
from recsys.data.schema import MICROSECONDS, Clock, Columns
from recsys.data.sources.files import Tables
from recsys.errors import DataError

HOUR = 3600 * MICROSECONDS
JOIN_KEYS = {"place": "_place", "timestamp": "_hour"}
"""role in the log → name of the joined column"""


def join_context_table(tables: Tables, columns: Columns, clock: Clock, features: Features, engine: Engine) -> Frame:
    """The events with the context columns that only the context table has, joined by place and hour.

    Events are joined by their place, if the log names one, and by the hour of their time; columns are null where the
    table has no such row. Its place and time have the same column names as in the log. Raises DataError if the table
    lacks them, or has two rows for one place and hour.
    """
    events, table = tables.events, tables.context_table
    if table is None:
        return events
    if columns.timestamp is None:
        raise DataError(
            "data.source.moments is joined by the hour and needs times; name the column under data.columns.timestamp"
        )
    roles = {role: name for role in JOIN_KEYS if (name := getattr(columns, role)) is not None}
    names = _select_names(events, table, roles, features)
    context = engine.keep(_add_keys(table.select(*roles.values(), *names), roles, clock, engine), "moments")
    keys = [JOIN_KEYS[role] for role in roles]
    _check_unique(context, keys)
    keyed_events = engine.keep(_add_keys(events, roles, clock, engine), "placed")
    joined = keyed_events.join(context.select(*keys, *names), on=keys, how="left")
    return engine.keep(joined.drop(keys), "joined")


def _select_names(events: Frame, table: Frame, roles: dict[str, str], features: Features) -> list[str]:
    """The context columns that the table brings; DataError if it has none, or lacks those to join by."""
    names = [name for name in features.context_columns if name in table.columns and name not in roles.values()]
    missing = [name for name in roles.values() if name not in table.columns]
    if missing or not names:
        lacking = ", ".join(missing) or f"columns of data.features.context ({', '.join(features.context_columns)})"
        raise DataError(
            f"the table data.source.moments lacks {lacking}; "
            f"there are: {', '.join(name for name in table.columns if name != '_row')}"
        )
    if both := [name for name in names if name in events.columns]:
        raise DataError(f"column {both[0]} is in the events and in the table data.source.moments; rename one")
    return names


def _add_keys(frame: Frame, roles: dict[str, str], clock: Clock, engine: Engine) -> Frame:
    """The frame with two more columns to join by: the place as text, and the hour counted from 1970."""
    missing = [name for name in roles.values() if name not in frame.columns]
    if missing:
        raise DataError(f"column {missing[0]} is missing from the events; name yours under data.columns")
    frame = frame.with_columns(*(nw.col(name).alias(JOIN_KEYS[role]) for role, name in roles.items()))
    if "place" in roles:
        frame = engine.to_text(normalize_ids(frame, JOIN_KEYS["place"], engine), JOIN_KEYS["place"])
    frame = engine.to_microseconds(frame, JOIN_KEYS["timestamp"], clock)
    return frame.with_columns((nw.col(JOIN_KEYS["timestamp"]) // HOUR).alias(JOIN_KEYS["timestamp"]))


def _check_unique(table: Frame, keys: list[str]) -> None:
    """Raises DataError if the table has two rows for one place and hour; rows without either are ignored."""
    complete = [~nw.col(key).is_null() for key in keys]
    counts = table.filter(*complete).group_by(*keys).agg(n=nw.len())
    repeated = counts.filter(nw.col("n") > 1).sort(*keys).head(1)
    rows: list[dict[str, Any]] = repeated.collect("pyarrow").to_native().to_pylist()
    if rows:
        row = rows[0]
        at_place = f"place '{row['_place']}' and " if "_place" in row else ""
        hour = f"the hour from {row['_hour'] * 3600} s since 1970"
        raise DataError(f"the table data.source.moments has {row['n']} rows for {at_place}{hour}; keep one")
