"""Refunds take back the purchases that they name, or else the user's latest one of the item."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.preparation.validation import Validated
from recsys.errors import DataError

Row = dict[str, Any]
COLUMNS = ("number", "user", "item", "refund", "basket", "value", "timestamp")


def without_refunds(
    valid: Validated, refunds: Sequence[str], purchases: Sequence[str] | None, engine: Engine
) -> Validated:
    """The log without the events of types `refunds` and the events that they take back, which are of types
    `purchases` or, where it is None, of any other.

    Both are set aside, as refund and refunded; a refund of a smaller value than the purchase's as partial_refund, it
    takes nothing back; one without its purchase as unmatched_refund. DataError without a column that this needs.
    """
    if not refunds:
        return valid
    _check(valid.events)
    events = engine.keep(valid.events.with_row_index("number", order_by=["row", "user", "item"]), "numbered")
    rules = _rules(_involved(events, refunds, purchases))
    marks = pa.table({"number": pa.array(rules, pa.int64()), "rule": pa.array(rules.values(), pa.string())})
    marked = events.join(engine.from_frame(marks).drop("_row"), on="number", how="left")
    marked = engine.keep(marked.select(valid.quarantine.columns), "without_refunds")
    aside = marked.filter(~nw.col("rule").is_null())
    counts = valid.counts | {"kept": valid.counts["kept"] - len(rules)} | Counter(sorted(rules.values()))
    kept = marked.filter(nw.col("rule").is_null()).drop("rule")
    return Validated(kept, nw.concat([valid.quarantine, aside]), counts)


def _check(events: Frame) -> None:
    if "event" not in events.columns:
        raise DataError("data.refund_events needs a column 'event'; name it under data.columns.event")
    if "timestamp" not in events.columns and "basket" not in events.columns:
        remedy = "name one under data.columns.timestamp or .basket"
        raise DataError(f"data.refund_events needs times or baskets to find what was taken back; {remedy}")


def _involved(events: Frame, refunds: Sequence[str], purchases: Sequence[str] | None) -> list[Row]:
    """The refunds, and what the same users bought of the same items, oldest first."""
    refund = nw.col("event").is_in(list(refunds))
    bought = ~refund if purchases is None else nw.col("event").is_in(list(purchases))
    pairs = events.filter(refund).select("user", "item").unique()
    found = events.with_columns(refund=refund).filter(refund | bought).join(pairs, on=["user", "item"], how="semi")
    names = [name for name in COLUMNS if name in found.columns]
    order = [name for name in ("timestamp", "number") if name in names]
    rows: list[Row] = found.select(names).sort(*order).collect("pyarrow").to_native().to_pylist()
    return rows


def _rules(rows: list[Row]) -> dict[int, str]:
    """The rule under which each row that leaves is set aside, by its number."""
    rules: dict[int, str] = {}
    baskets: dict[Any, list[Row]] = defaultdict(list)
    earlier: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        if not row["refund"] and row.get("basket") is not None:
            baskets[row["user"], row["item"], row["basket"]].append(row)
    for row in rows:
        if row["refund"]:
            _settle(row, baskets[row["user"], row["item"], row.get("basket")], rules)
    for row in rows if rows and "timestamp" in rows[0] else []:
        if row["number"] not in rules:
            candidates = earlier[row["user"], row["item"]]
            _settle(row, candidates, rules) if row["refund"] else candidates.append(row)
    return {row["number"]: "unmatched_refund" for row in rows if row["refund"]} | rules


def _settle(refund: Row, candidates: list[Row], rules: dict[int, str]) -> None:
    """Pair a refund with the latest purchase of the same value, else with the latest."""
    value = abs(refund["value"]) if "value" in refund else None
    places = range(len(candidates) - 1, -1, -1)
    place = next((at for at in places if candidates[at].get("value") == value), len(candidates) - 1)
    if place < 0:
        return
    if value is not None and value < candidates[place]["value"]:
        rules[refund["number"]] = "partial_refund"
        return
    rules |= {refund["number"]: "refund", candidates.pop(place)["number"]: "refunded"}
