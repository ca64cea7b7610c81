"""Keeps the rows of a source that can be used; the others go to quarantine, with the rule that they break."""

import time
from dataclasses import dataclass

import narwhals.stable.v2 as nw

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.preparation.anonymous_sessions import count_anonymous_events, name_anonymous_users
from recsys.data.schema import MICROSECONDS, Clock, Columns
from recsys.errors import DataError

DAY = 86_400 * MICROSECONDS
EXACT_WHOLE_NUMBERS = {nw.Float32: 2**24, nw.Float64: 2**53}
"""type of float → up to where it holds every whole number"""


@dataclass(frozen=True)
class ValidatedEvents:
    """The kept events under their standard names, the rows in quarantine, and how many of each there are."""

    events: Frame
    quarantine: Frame
    counts: dict[str, int]
    """read, kept, one entry per broken rule and, with sessions, how many of the kept events had no user"""


def validate_events(
    events: Frame, columns: Columns, clock: Clock, extra: tuple[str, ...], engine: Engine
) -> ValidatedEvents:
    """The log with columns user, item, row and, where the source has them, timestamp (int64 microseconds UTC), value,
    weight, event, basket and `extra_NAME` for each of `extra`.

    Raises DataError if a column is missing or no row can be used.
    """
    frame = _select_standard_columns(events, columns, extra)
    for name in ("user", "item", "basket", "session"):
        frame = normalize_ids(frame, name, engine) if name in frame.columns else frame
    if "session" in frame.columns:
        frame = name_anonymous_users(frame, engine)
    if "timestamp" in frame.columns:
        frame = engine.to_microseconds(frame, "timestamp", clock)
    for name in ("weight", "value", "row"):
        frame = engine.to_number(frame, name) if name in frame.columns else frame
    if "event" in frame.columns:
        frame = engine.to_text(frame, "event")
    checked = engine.keep(frame.with_columns(rule=_build_rule(frame)), "checked")
    kept = checked.filter(nw.col("rule").is_null()).drop("rule")
    quarantine = checked.filter(~nw.col("rule").is_null())
    counts = _count_rules(checked)
    if columns.session:
        counts["anonymous"] = count_anonymous_events(kept)
    return ValidatedEvents(kept, quarantine, counts)


def _select_standard_columns(events: Frame, columns: Columns, extra: tuple[str, ...]) -> Frame:
    names = columns.prepared_roles()
    missing = [name for name in (*names.values(), *extra) if name not in events.columns]
    if missing:
        raise DataError(
            f"column {', '.join(map(repr, missing))} is missing from the events; "
            f"there are: {', '.join(name for name in events.columns if name != '_row')}; "
            "name yours under data.columns"
        )
    standard = [nw.col(name).alias(role) for role, name in {"row": "_row", **names}.items()]
    return events.select(*standard, *(nw.col(name).alias(f"extra_{name}") for name in extra))


def normalize_ids(frame: Frame, name: str, engine: Engine) -> Frame:
    """The frame with a column of ids as whole numbers or as text, blank as null.

    Raises DataError for floats that are not whole numbers.
    """
    dtype = frame.collect_schema()[name]
    if not dtype.is_float():
        return frame if dtype.is_integer() else engine.to_text(frame, name)
    number = nw.col(name)
    frame = frame.with_columns(nw.when(~number.is_nan()).then(number).alias(name))
    limit = next(limit for float_type, limit in EXACT_WHOLE_NUMBERS.items() if dtype == float_type)
    broken = frame.filter(~number.is_null()).filter((number.abs() >= limit) | (number % 1 != 0))
    example = broken.select(name).head(1).collect("pyarrow").to_native()
    if example.num_rows:
        raise DataError(
            f"{name} id {example[name][0].as_py()!r} is a fractional or over-large float; "
            "missing values turn integer columns into floats: read ids as text or as nullable integers"
        )
    return frame.with_columns(nw.col(name).cast(nw.Int64))


def _build_rule(frame: Frame) -> nw.Expr:
    """The first rule that a row breaks, null if it breaks none."""
    rules = {f"missing_{name}": nw.col(name).is_null() for name in ("user", "item")}
    if "timestamp" in frame.columns:
        moment, tomorrow = nw.col("timestamp"), int(time.time()) // 86_400 * DAY + 2 * DAY
        rules["unreadable_timestamp"] = moment.is_null()
        rules["timestamp_before_1970_or_in_future"] = (moment < 0) | (moment >= tomorrow)
    for name in ("row", "value", "weight"):
        if name in frame.columns:
            rules[f"unreadable_{name}"] = nw.col(name).is_null() | ~nw.col(name).is_finite()
    if "weight" in frame.columns:
        rules["negative_weight"] = nw.col("weight") < 0
    expression: nw.Expr = nw.lit(None, nw.String)
    for name, broken in reversed(rules.items()):
        expression = nw.when(broken).then(nw.lit(name)).otherwise(expression)
    return expression


def _count_rules(checked: Frame) -> dict[str, int]:
    """How many rows were read, are kept, and break each rule; DataError if none is kept."""
    groups = checked.group_by("rule").agg(n=nw.len()).sort("rule").collect("pyarrow").to_native().to_pylist()
    broken = {row["rule"]: row["n"] for row in groups if row["rule"] is not None}
    read = sum(row["n"] for row in groups)
    kept = read - sum(broken.values())
    if kept == 0:
        reasons = ", ".join(f"{n:,} {rule}" for rule, n in broken.items()) or "the source is empty"
        raise DataError(f"no usable event among {read:,} read: {reasons}; see data.columns and data.clock")
    return {"read": read, "kept": kept, **broken}
