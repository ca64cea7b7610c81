"""What is known of a place at an hour, such as its weather: columns of a table beside the log, joined to its events."""

import narwhals.stable.v2 as nw

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.features import Features
from recsys.data.preparation.validation import checked_ids
from recsys.data.schema import MICROSECONDS, Clock, Columns
from recsys.errors import DataError

HOUR = 3600 * MICROSECONDS
KEYS = {"place": "_place", "timestamp": "_hour"}


def with_moments(
    events: Frame, moments: Frame | None, columns: Columns, clock: Clock, features: Features, engine: Engine
) -> Frame:
    """The events with those context columns that only the table of moments has, by place (where the log names one) and
    the hour that the event falls into; null where the table has no such row. Its place and time have the names that
    they have in the log. DataError where it lacks them, or has two rows for one place and hour.
    """
    if moments is None:
        return events
    if columns.timestamp is None:
        raise DataError("data.source.moments is joined by the hour: name the times under data.columns.timestamp")
    roles = {role: name for role in KEYS if (name := getattr(columns, role)) is not None}
    wanted = [name for name in features.brought if name in moments.columns and name not in roles.values()]
    missing = [name for name in roles.values() if name not in moments.columns]
    if missing or not wanted:
        lacking = ", ".join(missing) or f"columns of data.features.context ({', '.join(features.brought)})"
        raise DataError(
            f"the table of moments lacks {lacking}; there are: {', '.join(c for c in moments.columns if c != '_row')}"
        )
    if both := [name for name in wanted if name in events.columns]:
        raise DataError(f"column {both[0]} is in the events and in the table of moments; rename one")
    table = engine.keep(_keyed(moments.select(*roles.values(), *wanted), roles, clock, engine), "moments")
    keys = [KEYS[role] for role in roles]
    _refuse_twice(table, keys)
    placed = engine.keep(_keyed(events, roles, clock, engine), "placed")
    joined = placed.join(table.select(*keys, *wanted), on=keys, how="left")
    return engine.keep(joined.drop(keys), "joined")


def _keyed(frame: Frame, roles: dict[str, str], clock: Clock, engine: Engine) -> Frame:
    """The frame with the place as text and the hour, in hours since 1970, as columns of their own."""
    missing = [name for name in roles.values() if name not in frame.columns]
    if missing:
        raise DataError(f"column {missing[0]} is missing from the events; name yours under data.columns")
    frame = frame.with_columns(*(nw.col(name).alias(KEYS[role]) for role, name in roles.items()))
    if "place" in roles:
        frame = engine.to_text(checked_ids(frame, KEYS["place"], engine), KEYS["place"])
    frame = engine.to_microseconds(frame, KEYS["timestamp"], clock)
    return frame.with_columns((nw.col(KEYS["timestamp"]) // HOUR).alias(KEYS["timestamp"]))


def _refuse_twice(table: Frame, keys: list[str]) -> None:
    known = [~nw.col(key).is_null() for key in keys]
    twice = table.filter(*known).group_by(*keys).agg(n=nw.len()).filter(nw.col("n") > 1).sort(*keys).head(1)
    found = twice.collect("pyarrow").to_native().to_pylist()
    if found:
        place = f"place '{found[0]['_place']}' and " if "_place" in found[0] else ""
        hour = f"the hour from {found[0]['_hour'] * 3600} s since 1970"
        raise DataError(f"the table of moments has {found[0]['n']} rows for {place}{hour}; keep one")
