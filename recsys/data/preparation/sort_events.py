"""Puts events in their final order, with whole numbers in place of ids."""

import narwhals.stable.v2 as nw
import pandas as pd

from recsys.data.engines.duckdb import Engine, Frame


def sort_events(events: Frame, engine: Engine) -> dict[str, pd.Series]:
    """Keep the events as stage 'sorted', by user, time and row, with codes in place of ids.

    The events of a basket get the time of its first event. Returns the raw ids of users, items and baskets, in the
    order of their codes.
    """
    codes = {name: _number_ids(events, name, engine) for name in ("user", "item", "basket") if name in events.columns}
    for name, table in codes.items():
        events = events.join(table, on=name, how="left" if name == "basket" else "inner").drop(name)
    time = "timestamp" if "timestamp" in events.columns else "row"
    order = ["user_code", time, "row"]
    if "basket" in codes:
        events = events.with_columns(start=_basket_start(time))
        order = ["user_code", "start", "basket_code", "row"]
        if time == "timestamp":
            events = events.with_columns(timestamp=nw.col("start"))
    unused = [name for name in ("row", "start", "value") if name in events.columns]
    engine.keep(events.sort(*order).drop(unused), "sorted")
    return {name: table.sort(f"{name}_code").collect("pandas").to_native()[name] for name, table in codes.items()}


def _number_ids(events: Frame, name: str, engine: Engine) -> Frame:
    """The distinct ids of a column with their codes: their ranks in sorted order, from 0."""
    ids = events.filter(~nw.col(name).is_null()).group_by(name).agg(n=nw.len()).select(name)
    numbered = ids.with_row_index(f"{name}_code", order_by=[name])
    return engine.keep(numbered.with_columns(nw.col(f"{name}_code").cast(nw.Int32)), f"{name}s")


def _basket_start(time: str) -> nw.Expr:
    """The time of the first event of an event's basket; its own time if it has no basket."""
    first = nw.col(time).min().over("user_code", "basket_code")
    return nw.when(nw.col("basket_code").is_null()).then(nw.col(time)).otherwise(first)
