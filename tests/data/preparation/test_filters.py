"""Filters against plain references, at their boundaries, and what they say without their column."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.engines.duckdb import open_engine
from recsys.data.preparation.filters import Filters, find_core, find_first_occurrences
from recsys.data.preparation.splits import GlobalTime, LeaveOneOut
from recsys.data.schema import Columns
from recsys.errors import DataError
from tests.planted import DAY, START, planted_log, prepared

PAIRS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 9)), max_size=60)


def coded(pairs):
    users, items = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    order = np.argsort(users, kind="stable")
    return users[order], items[order]


def plain_core(pairs, user_core, item_core):
    """The events left when none can be dropped one user or item at a time."""
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        smaller = [(u, i) for u, i in pairs if users[u] >= user_core and items[i] >= item_core]
        if smaller == pairs:
            return pairs
        pairs = smaller


@given(PAIRS, st.integers(1, 5), st.integers(1, 5))
def test_core_against_a_plain_reference(pairs, user_core, item_core):
    users, items = coded(pairs)
    mask = find_core(users, items, user_core, item_core)
    kept = list(zip(users[mask].tolist(), items[mask].tolist(), strict=True))
    assert kept == plain_core(list(zip(users.tolist(), items.tolist(), strict=True)), user_core, item_core)


@given(PAIRS, st.integers(1, 4), st.integers(1, 4), st.randoms())
def test_core_holds_every_set_that_is_dense_enough(pairs, user_core, item_core, random):
    users, items = coded(pairs)
    mask = find_core(users, items, user_core, item_core)
    some = [pair for pair in zip(users.tolist(), items.tolist(), strict=True) if random.random() < 0.8]
    dense = Counter(plain_core(some, user_core, item_core))
    assert not dense - Counter(zip(users[mask].tolist(), items[mask].tolist(), strict=True))


@given(PAIRS)
def test_first_occurrences_against_a_set(pairs):
    users, items = coded(pairs)
    seen, expected = set(), []
    for pair in zip(users.tolist(), items.tolist(), strict=True):
        expected.append(pair not in seen)
        seen.add(pair)
    assert find_first_occurrences(users, items).tolist() == expected


def events(dataset):
    """(user, item, second) of every event of a prepared dataset, in order."""
    raw_users = pd.read_parquet(dataset.folder / "users.parquet")["user"].to_numpy()
    raw_items = pd.read_parquet(dataset.folder / "items.parquet")["item"].to_numpy()
    users = np.repeat(raw_users, np.diff(dataset.offsets))
    times = dataset.timestamps if dataset.timestamps is not None else np.zeros(len(users), int)
    return list(zip(users.tolist(), raw_items[dataset.items - 1].tolist(), times.tolist(), strict=True))


def test_core_of_a_prepared_dataset(tmp_path):
    frame = planted_log(40, 60)
    found = prepared(tmp_path, frame, filters=Filters(user_core=12, item_core=5))
    rows = frame.sort_values(["user", "timestamp"])
    expected = plain_core(list(zip(rows["user"], rows["item"], strict=True)), 12, 5)
    assert [pair[:2] for pair in events(found)] == expected
    assert 0 < len(expected) < len(frame)
    assert found.metadata["counts"]["filtered_out"] == len(frame) - len(expected)


def test_only_the_first_event_with_an_item(tmp_path):
    frame = pd.DataFrame({"user": "u", "item": list("abacb"), "timestamp": START + np.arange(5)})
    found = prepared(tmp_path, frame, filters=Filters(first_only=True))
    assert events(found) == [("u", "a", START), ("u", "b", START + 1), ("u", "c", START + 3)]


def test_event_types_and_values(tmp_path):
    frame = pd.DataFrame(
        {"user": "u", "item": list("abcdef"), "timestamp": START + np.arange(6), "stars": [3, 4, 5, 4, 3.9, 4],
         "kind": ["buy", "buy", "view", " cart ", "buy", None]}
    )  # fmt: skip
    columns = Columns(event="kind", value="stars")
    found = prepared(tmp_path, frame, columns=columns, filters=Filters(events=["buy", "cart"], min_value=4))
    assert [item for _, item, _ in events(found)] == ["b", "d"]
    assert found.metadata["counts"]["filtered_out"] == 4


MOMENTS = st.sampled_from([1704067199, 1704067200, 1704067201, 1706659199, 1706659200])
ROWS = st.lists(st.tuples(MOMENTS, st.sampled_from(["buy", "view", "cart"]), st.floats(0, 5)), min_size=1, max_size=30)
LIMIT = st.one_of(st.none(), st.sampled_from(["2024-01-01", "2024-01-31"]))


@given(
    ROWS,
    st.one_of(st.none(), st.lists(st.sampled_from(["buy", "cart"]))),
    st.one_of(st.none(), st.floats(0, 5)),
    LIMIT,
    LIMIT,
)
@settings(max_examples=40, deadline=None)
def test_rows_kept_against_a_plain_comparison(tmp_path_factory, rows, kinds, least, start, end):
    with open_engine(tmp_path_factory.mktemp("select")) as engine:
        frame = pd.DataFrame(rows, columns=["timestamp", "event", "value"])
        frame["timestamp"] *= 1_000_000
        kept = Filters(events=kinds, min_value=least, start=start, end=end).select(engine.from_frame(frame))
        found = kept.sort("_row").collect("pandas").to_native()["_row"].tolist()
    edges = [pd.Timestamp(edge).timestamp() if edge else None for edge in (start, end)]
    assert found == [
        place for place, (moment, kind, value) in enumerate(rows)
        if (kinds is None or kind in kinds) and (least is None or value >= least)
        and (edges[0] is None or moment >= edges[0]) and (edges[1] is None or moment < edges[1])
    ]  # fmt: skip


def test_window_includes_its_start_and_excludes_its_end(tmp_path):
    frame = pd.DataFrame(
        {"user": "u", "item": list("abcd"), "timestamp": [1704067199, 1704067200, 1706659199, 1706659200]}
    )
    inside = prepared(tmp_path, frame, filters=Filters(start="2024-01-01", end="2024-01-31T01:00+01:00"))
    assert [item for _, item, _ in events(inside)] == ["b", "c"]


def test_window_is_exact_to_the_microsecond(tmp_path):
    times = pd.to_datetime(["2024-01-01T00:00:00.123455", "2024-01-01T00:00:00.123456"])
    frame = pd.DataFrame({"user": "u", "item": ["a", "b"], "timestamp": times})
    found = prepared(tmp_path, frame, filters=Filters(start="2024-01-01T00:00:00.123456"))
    assert [item for _, item, _ in events(found)] == ["b"]


@pytest.mark.parametrize("moment", ["soon", "NaT", "", "2024-13-01"])
@pytest.mark.parametrize("setting", ["start", "end"])
def test_a_window_that_is_no_time(tmp_path, moment, setting):
    with pytest.raises(DataError, match=rf"data.filters.{setting}='{moment}' is not a time; write 2024-01-31"):
        prepared(tmp_path, planted_log(), filters=Filters(**{setting: moment}))


@pytest.mark.parametrize(
    "filters, column",
    [
        (Filters(events=["buy"]), "event"),
        (Filters(min_value=3), "value"),
        (Filters(start="2024-01-01"), "timestamp"),
        (Filters(end="2024-01-01"), "timestamp"),
    ],
)
def test_a_filter_without_its_column_names_it(tmp_path, filters, column):
    frame = planted_log().drop(columns="timestamp")
    with pytest.raises(DataError, match=rf"data.filters.\w+ needs a column '{column}'; name it under data.columns"):
        prepared(tmp_path, frame, columns=Columns(timestamp=None), filters=filters)


@pytest.mark.parametrize("filters", [Filters(user_core=99), Filters(item_core=9999), Filters(start="2200-01-01")])
def test_filters_that_leave_nothing_say_so(tmp_path, filters):
    with pytest.raises(DataError, match=r"the filters leave none of the [\d,]+ events; relax data.filters"):
        prepared(tmp_path, planted_log(), filters=filters)
    assert list(tmp_path.iterdir()) == []


def test_rare_items_are_counted_before_the_test_only(tmp_path):
    """Item c has three events, but only one before the cut; b has two, one of them in validation."""
    rows = [("u", item, START + day * DAY) for day, item in enumerate("aaaabaaaabcccaaa")]
    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    cut = pd.Timestamp(START + 11 * DAY, unit="s").isoformat()
    found = prepared(
        tmp_path, frame, GlobalTime(cut=cut, validation=0.12), filters=Filters(item_min_training=2), exclude_seen=False
    )
    assert "".join(item for _, item, _ in events(found)) == "aaaabaaaabaaa"
    assert found.bounds.tolist() == [[9, 10]]
    assert found.metadata["counts"]["of_rare_items"] == 3
    assert found.item_counts.tolist() == [0, 8, 1]


def test_users_who_are_new_in_the_test_may_be_left_out(tmp_path):
    """Of three users one has two events before the cut, one has one, in validation, and one none."""
    rows = [("old", item, START + day * DAY) for day, item in enumerate("aaaaaabb")]
    rows += [("late", "a", START + 7 * DAY), ("late", "b", START + 9 * DAY)]
    rows += [("new", item, START + day * DAY) for day, item in zip([10, 11], "ab", strict=True)]
    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    split = GlobalTime(cut=pd.Timestamp(START + 8 * DAY, unit="s").isoformat(), validation=0.16)
    found = prepared(tmp_path, frame, split, filters=Filters(user_min_training=1))
    assert [found.raw_users()[user].as_py() for user in np.flatnonzero(np.diff(found.offsets))] == ["late", "old"]
    assert found.metadata["counts"]["of_new_users"] == 2
    assert found.metadata["counts"]["of_rare_items"] == 0
    everyone = prepared(tmp_path, frame, split)
    assert len(everyone.items) == len(found.items) + 2
    assert "of_new_users" not in everyone.metadata["counts"]


@pytest.mark.parametrize("minimum", [1, 5, 9])
def test_rare_items_against_a_plain_count(tmp_path, minimum):
    frame = planted_log(40, 60)
    whole = prepared(tmp_path, frame, LeaveOneOut())
    found = prepared(tmp_path, frame, LeaveOneOut(), filters=Filters(item_min_training=minimum))
    before = np.arange(len(whole.items)) < np.repeat(whole.bounds[:, 1], np.diff(whole.offsets))
    counts = Counter(item for (_, item, _), early in zip(events(whole), before, strict=True) if early)
    assert events(found) == [event for event in events(whole) if counts[event[1]] >= minimum]


def test_no_item_frequent_enough_says_so(tmp_path):
    with pytest.raises(DataError, match=r"leaves none of the [\d,]+ events for training; relax data.filters"):
        prepared(tmp_path, planted_log(), filters=Filters(item_min_training=999))
