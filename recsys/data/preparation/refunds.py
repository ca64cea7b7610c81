"""Refunds cancel the purchases that they name, or else the user's latest purchase of the item."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.preparation.validation import ValidatedEvents
from recsys.errors import DataError

Row = dict[str, Any]
REFUND_COLUMNS = ("number", "user", "item", "refund", "basket", "value", "timestamp")


def remove_refunds(
    valid: ValidatedEvents, refunds: Sequence[str], purchases: Sequence[str] | None, engine: Engine
) -> ValidatedEvents:
    """The log without refunds (events of the types `refunds`) and without the purchases that they cancel.

    `purchases` are the types of events that can be taken back (None: all others). Refunds go to quarantine as `refund`,
    the purchases as `refunded`. A refund of less than the purchase's value goes there as `partial_refund` and cancels
    nothing; one without a purchase as `unmatched_refund`. Raises DataError if a column is missing that this needs.
    """
    if not refunds:
        return valid
    _check_columns(valid.events)
    events = engine.keep(valid.events.with_row_index("number", order_by=["row", "user", "item"]), "numbered")
    rules = _match_refunds(_read_refunds_and_purchases(events, refunds, purchases))
    marks = pa.table({"number": pa.array(rules, pa.int64()), "rule": pa.array(rules.values(), pa.string())})
    marked = events.join(engine.from_frame(marks).drop("_row"), on="number", how="left")
    marked = engine.keep(marked.select(valid.quarantine.columns), "without_refunds")
    dropped = marked.filter(~nw.col("rule").is_null())
    counts = valid.counts | {"kept": valid.counts["kept"] - len(rules)} | Counter(sorted(rules.values()))
    kept = marked.filter(nw.col("rule").is_null()).drop("rule")
    return ValidatedEvents(kept, nw.concat([valid.quarantine, dropped]), counts)


def _check_columns(events: Frame) -> None:
    if "event" not in events.columns:
        raise DataError("data.refund_events needs a column 'event'; name it under data.columns.event")
    if "timestamp" not in events.columns and "basket" not in events.columns:
        remedy = "name one under data.columns.timestamp or .basket"
        raise DataError(f"data.refund_events needs times or baskets to find the refunded purchase; {remedy}")


def _read_refunds_and_purchases(events: Frame, refunds: Sequence[str], purchases: Sequence[str] | None) -> list[Row]:
    """The refunds, and what the same users bought of the same items, oldest first."""
    is_refund = nw.col("event").is_in(list(refunds))
    is_purchase = ~is_refund if purchases is None else nw.col("event").is_in(list(purchases))
    pairs = events.filter(is_refund).select("user", "item").unique()
    involved = events.with_columns(refund=is_refund).filter(is_refund | is_purchase)
    involved = involved.join(pairs, on=["user", "item"], how="semi")
    names = [name for name in REFUND_COLUMNS if name in involved.columns]
    order = [name for name in ("timestamp", "number") if name in names]
    rows: list[Row] = involved.select(names).sort(*order).collect("pyarrow").to_native().to_pylist()
    return rows


def _match_refunds(rows: list[Row]) -> dict[int, str]:
    """The quarantine rule of each row that leaves the log, by the row's number."""
    rules: dict[int, str] = {}
    baskets: dict[Any, list[Row]] = defaultdict(list)
    earlier: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if not row["refund"] and row.get("basket") is not None:
            baskets[row["user"], row["item"], row["basket"]].append(row)
    for row in rows:
        if row["refund"]:
            _pair_refund(row, baskets[row["user"], row["item"], row.get("basket")], rules)
    for row in rows if rows and "timestamp" in rows[0] else []:
        if row["number"] not in rules:
            candidates = earlier[row["user"], row["item"]]
            if row["refund"]:
                _pair_refund(row, candidates, rules)
            else:
                candidates.append(row)
    return {row["number"]: "unmatched_refund" for row in rows if row["refund"]} | rules


def _pair_refund(refund: Row, candidates: list[Row], rules: dict[int, str]) -> None:
    """Pair a refund with the latest purchase of the same value, else with the latest one; adds to `rules`."""
    value = abs(refund["value"]) if "value" in refund else None
    latest_first = range(len(candidates) - 1, -1, -1)
    index = next((at for at in latest_first if candidates[at].get("value") == value), len(candidates) - 1)
    if index < 0:
        return
    if value is not None and value < candidates[index]["value"]:
        rules[refund["number"]] = "partial_refund"
        return
    rules |= {refund["number"]: "refund", candidates.pop(index)["number"]: "refunded"}
