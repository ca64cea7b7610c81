"""Refunds take back what was bought, one by one, and nothing is lost."""

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.preparation.filters import Filters
from recsys.data.preparation.splits import GlobalTime
from recsys.data.schema import Clock, Columns
from recsys.data.sources.public import OnlineRetail
from recsys.errors import DataError
from tests.data.preparation.test_filters import events
from tests.data.sources.test_public import RETAIL, needs
from tests.planted import START, prepared

FILLER = [("z", "z", -1, "buy", None, 1)] * 3  # so that something is always left


def refunded(folder, rows, columns=("basket", "value"), **settings):
    """The items left of user u, and the rule of each row set aside, by its item and number of the row."""
    frame = pd.DataFrame(rows + FILLER, columns=["user", "item", "timestamp", "kind", "basket", "value"])
    frame["timestamp"] += START
    roles = Columns(**{"event": "kind", **dict(zip(columns, columns, strict=True)), **settings.pop("roles", {})})
    found = prepared(folder, frame, columns=roles, refund_events=["back"], **settings)
    counts = found.metadata["counts"]
    aside = pd.read_parquet(found.folder / "quarantine.parquet").sort_values("row")
    assert counts["read"] == counts["kept"] + len(aside) == len(frame)
    assert {rule: counts[rule] for rule in aside["rule"]} == Counter(aside["rule"])
    kept = "".join(item for user, item, _ in events(found) if user == "u")
    return kept, dict(zip(aside["row"].tolist(), aside["rule"], strict=True))


def test_a_refund_names_the_basket(tmp_path):
    rows = [
        ("u", "a", 1, "buy", 1, 1),
        ("u", "a", 2, "buy", 2, 1),
        ("u", "b", 3, "buy", 1, 1),
        ("u", "a", 4, "back", 1, 1),
    ]
    assert refunded(tmp_path, rows) == ("ab", {0: "refunded", 3: "refund"})


def test_without_its_basket_the_latest_earlier_purchase_goes(tmp_path):
    rows = [
        ("u", "a", 1, "buy", 1, 1), ("u", "a", 5, "buy", 2, 1), ("u", "a", 9, "buy", 3, 1), ("u", "b", 2, "buy", 1, 1),
        ("v", "a", 6, "buy", 4, 1), ("u", "a", 7, "back", 9, 1), ("u", "a", 8, "back", None, 1),
        ("u", "a", 8, "back", 9, 1),
    ]  # fmt: skip
    kept, aside = refunded(tmp_path, rows)
    assert kept == "ba"
    assert aside == {0: "refunded", 1: "refunded", 5: "refund", 6: "refund", 7: "unmatched_refund"}


def test_two_refunds_of_one_basket_take_one_purchase_there_and_one_before(tmp_path):
    rows = [("u", "a", n, "buy", n, 1) for n in (1, 2)] + [("u", "a", 3, "back", 2, 1)] * 2
    assert refunded(tmp_path, [*rows, ("u", "b", 9, "buy", 9, 1)]) == (
        "b", {0: "refunded", 1: "refunded", 2: "refund", 3: "refund"}
    )  # fmt: skip


def test_the_same_value_goes_first_and_a_part_leaves_the_purchase(tmp_path):
    rows = [
        ("u", "a", 1, "buy", 1, 4), ("u", "a", 2, "buy", 2, 9), ("u", "a", 3, "back", 3, -4),
        ("u", "a", 4, "back", 4, -4),
        ("u", "b", 1, "buy", 1, 4), ("u", "b", 2, "back", 5, -5),
    ]  # fmt: skip
    kept, aside = refunded(tmp_path, rows)
    assert (kept, aside) == ("a", {0: "refunded", 2: "refund", 3: "partial_refund", 4: "refunded", 5: "refund"})
    kept, aside = refunded(tmp_path, rows, columns=("basket",))
    assert aside == {0: "refunded", 1: "refunded", 2: "refund", 3: "refund", 4: "refunded", 5: "refund"}


def test_only_the_kept_types_are_taken_back(tmp_path):
    rows = [
        ("u", "a", 1, "buy", 1, 1),
        ("u", "a", 2, "view", 2, 1),
        ("u", "a", 3, "back", 3, 1),
        ("u", "b", 4, "buy", 4, 1),
    ]
    assert refunded(tmp_path, rows, filters=Filters(events=["buy"]))[1] == {0: "refunded", 2: "refund"}
    assert refunded(tmp_path, rows, target_events=["buy"])[1] == {0: "refunded", 2: "refund"}
    assert refunded(tmp_path, rows)[1] == {1: "refunded", 2: "refund"}


def test_without_times_only_baskets_tell(tmp_path):
    rows = [
        ("u", "a", 1, "buy", 1, 1),
        ("u", "a", 2, "back", 1, 1),
        ("u", "b", 1, "buy", 2, 1),
        ("u", "b", 2, "back", 3, 1),
    ]
    kept, aside = refunded(tmp_path, rows, roles={"timestamp": None})
    assert (kept, aside) == ("b", {0: "refunded", 1: "refund", 3: "unmatched_refund"})


@pytest.mark.parametrize(
    "columns, complaint",
    [
        (Columns(), "data.refund_events needs a column 'event'; name it under data.columns.event"),
        (Columns(event="item", timestamp=None), r"data.refund_events needs times or baskets .* data.columns.timestamp"),
    ],
)
def test_what_refunds_need_is_named(tmp_path, columns, complaint):
    frame = pd.DataFrame({"user": ["u"], "item": ["a"], "timestamp": [START]})
    with pytest.raises(DataError, match=complaint):
        prepared(tmp_path, frame, columns=columns, refund_events=["back"])


def plain(rows):
    """The rule of each row that leaves, by one loop a step."""
    rules, order = {}, sorted(range(len(rows)), key=lambda n: (rows[n][2], n))
    for by_basket in (True, False):
        bought = defaultdict(list)
        for n in (
            order
            if not by_basket
            else [n for n in order if rows[n][3] == "buy"] + [n for n in order if rows[n][3] == "back"]
        ):
            user, item, _, kind, basket, value = rows[n]
            key = (user, item, basket) if by_basket else (user, item)
            if n in rules or (by_basket and basket is None):
                continue
            if kind == "buy":
                bought[key].append(n)
            elif bought[key]:
                choice = ([m for m in bought[key] if rows[m][5] == value] or bought[key])[-1]
                rules[n] = "refund" if value >= rows[choice][5] else "partial_refund"
                if rules[n] == "refund":
                    rules[choice] = "refunded"
                    bought[key].remove(choice)
    return rules | {n: "unmatched_refund" for n in order if rows[n][3] == "back" and n not in rules}


ROW = st.tuples(
    st.sampled_from("uv"), st.sampled_from("ab"), st.integers(0, 5), st.sampled_from(["buy", "back"]),
    st.sampled_from([None, 1, 2]), st.integers(1, 3),
)  # fmt: skip


@given(st.lists(ROW, min_size=1, max_size=25))
@settings(max_examples=25, deadline=None)
def test_against_a_plain_loop(tmp_path_factory, rows):
    _, aside = refunded(tmp_path_factory.mktemp("refunds"), rows)
    assert aside == plain(rows)
    assert Counter(aside.values())["refund"] == Counter(aside.values())["refunded"]


def test_online_retail(tmp_path, public):
    needs(public, "online-retail/online_retail.parquet")
    columns = Columns(**{**vars(RETAIL), "value": "Quantity"})
    found = prepared(
        tmp_path, OnlineRetail(), GlobalTime(), columns=columns, clock=Clock(zone="Europe/London"),
        filters=Filters(events=["purchase"]), refund_events=["refund"], exclude_seen=False,
    )  # fmt: skip
    counts = found.metadata["counts"]
    rules = {"refund": 3_011, "refunded": 3_011, "partial_refund": 4_560, "unmatched_refund": 1_334}
    assert {rule: counts[rule] for rule in rules} == rules
    assert len(found.items) == 397_884 - 3_011
    assert np.isin(pd.read_parquet(found.folder / "quarantine.parquet")["rule"], [*rules, "missing_user"]).all()
