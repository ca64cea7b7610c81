"""Segments of planted customers are found, evaluated by later purchases, named, kept, and hidden where small."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.apps.customers.clustering import (
    ClusteringScore,
    choose_segment_count,
    cluster_customers,
    compute_eta_squared,
    compute_stability,
    match_by_customers,
    match_segments,
)
from recsys.apps.customers.customer_features import build_rfm_features, scale_rfm_features
from recsys.apps.customers.holdout import HoldoutWindows, evaluate_segments
from recsys.apps.customers.numbering import number_segments
from recsys.apps.customers.purchases import parse_days
from recsys.apps.customers.segment_names import find_favourites, name_segments
from recsys.data.preparation.segments import read_segment_file
from recsys.data.schema import Columns
from recsys.errors import ConfigError
from tests.customers import DAY, LENGTH, START, cdnow_purchases, planted_customers, purchases_of, run_recsys
from tests.planted import planted_log, prepared

pytestmark = pytest.mark.xdist_group("insights")  # one process makes what they share


@pytest.fixture(scope="module")
def purchases(tmp_path_factory):
    return purchases_of(tmp_path_factory.mktemp("purchases"), planted_customers())


def segments_of(log, out, *words):
    """The table that `recsys segment` writes for a planted log."""
    data = ["data=parquet", f"data.path={log}", f"data.folder={log.parent}/data", "data.columns.money=paid"]
    run_recsys("segment", *data, "holdout=60d", f"out={out}", *words)
    return pd.read_parquet(out / "segments.parquet").set_index("user")


def test_an_order_is_a_day_in_the_shops_zone(tmp_path):
    midnight = START * DAY
    events = pd.DataFrame(
        {"user": ["a"] * 3, "item": ["x", "y", "x"], "timestamp": [midnight, midnight + 60, midnight - 60]}
    )
    events["paid"] = [2.0, 3.0, 5.0]
    assert purchases_of(tmp_path, events).orders["money"].tolist() == [5.0, 5.0]
    west = purchases_of(tmp_path, events, zone="America/New_York")
    assert west.orders["money"].tolist() == [10.0]
    assert west.start == START - 1 and west.midnight(START) == midnight + 5 * 3600


def test_what_is_known_of_a_day_does_not_read_on(tmp_path, purchases):
    cut = START + 150
    events = planted_customers()
    late = events["timestamp"] >= cut * DAY
    events.loc[late, "paid"] *= 100
    events.loc[late, "timestamp"] += DAY
    changed = purchases_of(tmp_path, events)
    summaries = (vars(log.summarize_before(cut)).values() for log in (purchases, changed))
    for mine, other in zip(*summaries, strict=True):
        np.testing.assert_array_equal(mine, other)
    everybody = np.arange(len(purchases.users))
    assert (changed.sum_between(cut, cut + 60, everybody)[1] > purchases.sum_between(cut, cut + 60, everybody)[1]).any()


def test_money_is_what_its_column_says_or_the_number_of_lines(tmp_path):
    events = pd.DataFrame(
        {"user": ["a", "a", "b"], "item": ["x"] * 3, "timestamp": [1, 2, 3], "paid": ["2.5", "?", "4"]}
    )
    assert purchases_of(tmp_path, events).summarize_before(9).spend.tolist() == [2.5, 4.0]
    assert purchases_of(tmp_path, events, money=None).summarize_before(9).spend.tolist() == [2.0, 1.0]


def test_a_prepared_dataset_knows_nothing_of_money(tmp_path):
    plain = prepared(tmp_path, planted_log())
    assert prepared(tmp_path, planted_log(), columns=Columns(money="not there")).folder == plain.folder


def test_planted_groups_are_found_and_tell_later_spend(purchases):
    windows = HoldoutWindows(START + 180, START + 240, 0.9, 0)
    found = evaluate_segments(purchases, lambda day: build_rfm_features(purchases, day), None, windows)
    users = pd.Series([purchases.users[one] for one in found.features.customers.numbers])
    assert users.str[:-2].groupby(found.clustering.labels).nunique().eq(1).all()
    assert found.score.eta > 0.9 and found.score.ari >= 0.9
    rng = np.random.default_rng(0)
    assert compute_eta_squared(rng.permutation(found.clustering.labels), found.later_spend) < 0.2


def test_names_say_what_customers_are_like(purchases):
    customers, features, scale = build_rfm_features(purchases, purchases.end)
    labels = cluster_customers(features, scale, 3, 0).labels
    called = name_segments(features, labels, True, ["", "", ""])
    groups = {purchases.users[one][:-2]: called[label] for one, label in zip(customers.numbers, labels, strict=True)}
    assert groups["loyal"].endswith("big spenders") and groups["lapsed"].startswith("lapsed")
    assert groups["small"].endswith("small spenders")


def test_names_are_told_apart_and_none_is_taken():
    rfm_logs, labels = np.zeros((6, 3)), np.array([0, 0, 1, 1, 2, 2])
    found = name_segments(rfm_logs, labels, False, ["tea", "", "tea"], ["one-time average buyers with tea"])
    assert len(set(found)) == 3 and "one-time average buyers with tea" not in found


def test_segments_that_other_samples_do_not_give_are_not_stable():
    rng = np.random.default_rng(0)
    noise, one = rng.normal(size=(300, 3)), np.ones(3)
    apart = noise + 20 * rng.integers(0, 2, (300, 1))
    assert compute_stability(apart, cluster_customers(apart, one, 2, 0), 0) > 0.99
    assert compute_stability(noise, cluster_customers(noise, one, 5, 0), 0) < 0.8
    tried = [ClusteringScore(2, 0.1, 0.99), ClusteringScore(3, 0.3, 0.95), ClusteringScore(4, 0.5, 0.7)]
    assert choose_segment_count(tried, 0.9).k == 3 and choose_segment_count(tried, 0.999).k == 2


@given(st.permutations(range(5)), st.integers(0, 9))
def test_shared_customers_find_the_segments_again(order, seed):
    old = np.random.default_rng(seed).integers(0, 5, 200)
    old[:5] = range(5)
    new = np.asarray(order)[old]
    found = match_by_customers(new, old + 7, 5)
    assert {order[number - 7] for number in found.values()} == set(range(5))
    assert all(order[number - 7] == one for one, number in found.items())


def test_a_segment_far_from_all_gets_a_number_of_its_own():
    assert match_segments(np.array([[0.1, 9], [9, 9]]), 1.0) == {0: 0}
    kept = {1: {"number": 2, "name": "old"}}
    called = number_segments(kept, np.array([2, 0, 1]), lambda taken: [f"not {taken[0]}", "unused", "first"])
    assert called == [(3, "not old"), (2, "old"), (1, "first")]


def test_favourites_are_lifts_of_what_enough_customers_have():
    column = pd.Series(["tea", "rice", None])
    people = np.arange(60)
    rows = np.where(people < 30, 0, 1)
    labels = (people >= 40).astype(int)
    rows[59] = 0
    found = find_favourites(column, rows, labels, people, 2, 5)
    assert [[value for value, _ in each] for each in found] == [["tea"], ["rice"]]
    assert found[0][0][1] == pytest.approx((30 / 40) / (31 / 60))
    assert find_favourites(column, rows, labels, people, 2, 31) == [[], []]
    assert find_favourites(column, np.full(60, 2), labels, people, 2, 1) == [[], []]


def test_the_command_keeps_numbers_and_names(customers_log, tmp_path, capsys):
    first = segments_of(customers_log, tmp_path / "a", "k=3")
    assert "of later spend (η², purchases from " in capsys.readouterr().out
    again = segments_of(customers_log, tmp_path / "a", "k=3", "seed=5")
    pd.testing.assert_frame_equal(first, again)
    events = planted_customers(seed=0)
    events[events["timestamp"] < (START + LENGTH - 7) * DAY].to_parquet(tmp_path / "earlier.parquet")
    segments_of(tmp_path / "earlier.parquet", tmp_path / "b", "k=3")
    later = segments_of(customers_log, tmp_path / "b", "k=3")
    assert (later["segment"] == first["segment"]).mean() >= 0.95
    assert (tmp_path / "a" / "segments.png").read_bytes().startswith(b"\x89PNG")


def test_small_segments_are_in_the_file_but_not_published(customers_log, tmp_path, capsys):
    found = segments_of(customers_log, tmp_path, "k=3", "min_segment=41")
    said = capsys.readouterr().out + (tmp_path / "segments.md").read_text()
    assert found["name"].nunique() == 3 and not any(name in said for name in found["name"].unique())
    assert "3 segments of fewer than 41 customers are not shown" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["k=9"], "k=9 is invalid: expected auto, or a whole number from 2 to 8"),
        (["by=age"], "by=age is unknown"),
        (["by=embedding"], "by=embedding needs a trained model; set run="),
        (["holdout=200d"], "holdout=200d needs a log of more than 400 days"),
        (["holdout=soon"], "holdout=soon is invalid: expected days or weeks, such as 90d or 13w"),
        (["data.columns.timestamp=null"], "name its column under data.columns.timestamp"),
    ],
)
def test_what_cannot_be_is_named(customers_log, tmp_path, words, complaint):
    with pytest.raises(SystemExit, match=complaint):
        segments_of(customers_log, tmp_path, *words)
    assert list(tmp_path.iterdir()) == []


def test_spans():
    assert parse_days("13w", "horizon") == 91 and parse_days("90d", "horizon") == 90
    with pytest.raises(ConfigError, match="horizon=0d is invalid: expected days or weeks"):
        parse_days("0d", "horizon")


def test_profiles_are_of_the_columns_that_features_name(tmp_path, capsys):
    events = planted_customers()
    people = pd.DataFrame({"user": events["user"].unique()})
    people["taste"] = people["user"].str[:-2]
    paths = [tmp_path / "events.parquet", tmp_path / "users.parquet"]
    events.to_parquet(paths[0])
    people.to_parquet(paths[1])
    segments_of(
        paths[0], tmp_path / "out", "k=3", f"data.source.users={paths[1]}", "data.features.segments=[user.taste]"
    )
    assert "user.taste lapsed (× 3.0)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_runs_vectors_are_judged_beside_rfm(customers_run, tmp_path, capsys):
    run_recsys("segment", f"run={customers_run.folder}", "by=embedding", "k=3", f"out={tmp_path}")
    said = capsys.readouterr().out
    assert "From RFM of the same customers, 3 segments explain" in said and "beat RFM" in said
    found = pd.read_parquet(tmp_path / "segments.parquet")
    assert found["segment"].nunique() == 3 and len(found) == 120


@pytest.mark.slow
def test_evaluation_reports_by_segment(customers_run, tmp_path, capsys):
    run_recsys("segment", f"run={customers_run.folder}", "k=3", f"out={tmp_path}")
    run_recsys("evaluate", f"run={customers_run.folder}", f"segments={tmp_path}/segments.parquet")
    found = customers_run.read_json("evaluation")["test"]["segments"]["user.segment"]
    table = pd.read_parquet(tmp_path / "segments.parquet")
    assert set(found) <= set(table["name_at_cut"]) and sum(each["n_users"] for each in found.values()) > 0
    assert all({"ndcg@3", "hr@3", "n_users"} <= set(each) for each in found.values())
    assert "user.segment" in capsys.readouterr().out


@pytest.mark.slow
def test_a_file_that_holds_no_segments_is_refused(customers_run, tmp_path):
    pd.DataFrame({"user": ["a"]}).to_parquet(tmp_path / "users.parquet")
    for name in ("users.parquet", "nothing.parquet"):
        with pytest.raises(SystemExit, match=r"is not a segments\.parquet file; write one with recsys segment"):
            run_recsys("evaluate", f"run={customers_run.folder}", f"segments={tmp_path / name}")


def test_users_without_a_segment_are_unknown(tmp_path):
    table = pd.DataFrame({"user": ["a", "b"], "name_at_cut": ["big", None]})
    table.to_parquet(tmp_path / "segments.parquet")
    values, codes = read_segment_file(["c", "b", "a"], tmp_path / "segments.parquet")
    assert [values[code] for code in codes[:, 0]] == ["unknown", "unknown", "unknown", "big"]


def test_cdnow_segments(public, tmp_path):
    purchases = cdnow_purchases(public)
    end = purchases.start + 39 * 7
    found = evaluate_segments(
        purchases, lambda day: scale_rfm_features(purchases.summarize_before(day)), 6, HoldoutWindows(end, end, 0.9, 1)
    )
    assert found.score.ari >= 0.95
    assert found.score.eta >= 0.17
    assert len(found.later_spend) == 23_570 and (found.later_spend > 0).mean() == pytest.approx(0.299, abs=0.001)
