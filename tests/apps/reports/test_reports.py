"""Reports: planted facts are found, figures equal those of the evaluation, and item texts cannot inject HTML."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.apps.reports import log_statistics, run_results, split_statistics, sufficiency
from recsys.apps.reports.data_document import lay_out_data_report
from recsys.apps.reports.data_report import compute_data_report
from recsys.apps.reports.item_map import compute_item_map
from recsys.apps.reports.ranked_targets import rank_test_targets, select_test_users
from recsys.apps.reports.run_document import lay_out_run_report
from recsys.apps.reports.run_report import report_run
from recsys.apps.reports.side_tables import choose_item_categories, choose_item_titles, compute_missing_shares
from recsys.apps.reports.target_groups import (
    compute_group_ndcg,
    compute_user_ndcg,
    group_by_history_length,
    group_by_popularity,
)
from recsys.config.build import build
from recsys.data.preparation.splits import GlobalTime, Random
from recsys.data.schema import Columns
from recsys.document import ItemLists, ListItem, Section, render_page
from recsys.errors import ConfigError
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, score_batch
from recsys.run import Run
from recsys.training.train import train_run
from tests.composed import composed
from tests.contracts.test_models import made
from tests.planted import DAY, START, planted_log, prepared

pytestmark = pytest.mark.xdist_group("looking")  # one process makes what they share

HOSTILE = '<script>alert("1")</script> & $5 <!-- --> $6'


def visits(*rows):
    """A frame of (user, item, day)."""
    return pd.DataFrame([(u, i, START + int(d * DAY)) for u, i, d in rows], columns=["user", "item", "timestamp"])


@pytest.fixture
def small(tmp_path):
    """Three users: a has i1 twice and a tie, b a day's pause, c one event of an item that is new on the last day."""
    frame = visits(
        ("a", "i1", 0), ("a", "i2", 1), ("a", "i1", 1), ("a", "i3", 4),
        ("b", "i1", 0), ("b", "i2", 1), ("b", "i2", 9), ("b", "i4", 9.5), ("c", "i5", 9.75),
    )  # fmt: skip
    cut = str(np.datetime64(START + 8 * DAY, "s"))
    return prepared(tmp_path, frame, GlobalTime(cut=cut, validation=0.1), exclude_seen=False)


def test_planted_facts_are_found(small):
    size = log_statistics.describe_log_size(small)
    assert (size["users"], size["items"], size["events"], size["density"]) == (3, 5, 9, 9 / 15)
    assert (size["first_day"], size["last_day"]) == ("2023-11-14", "2023-11-24")
    assert split_statistics.compute_repeat_share(small) == pytest.approx(2 / 9)
    assert log_statistics.describe_ties(small) == {"share": 2 / 9, "outside_baskets": 2 / 9, "whole_days": False}
    found = log_statistics.describe_pauses(small)
    assert found["mean"] == pytest.approx(np.mean([1, 3, 1, 8, 0.5]) * DAY)
    assert sum(found["histogram"]["counts"]) == 5
    assert log_statistics.describe_history_lengths(np.diff(small.offsets))["users_of_under_3"] == pytest.approx(1 / 3)


def test_events_a_day_are_all_counted(small):
    found = log_statistics.describe_events_over_time(small)
    assert (found["step"], found["days"], found["busiest_day"]) == ("day", 11, "2023-11-15")
    assert sum(found["events"]["events"]) == 9
    assert found["days_without_events"] == 6


def test_the_test_window_is_that_of_the_evaluation(small):
    found = split_statistics.describe_test_targets(small)
    assert (found["users"], found["targets"]) == (2, 3)
    assert found["cold_targets"] == pytest.approx(2 / 3)
    assert found["cold_users"] == pytest.approx(1 / 2)
    assert found["repeated_targets"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["dataset", "shop", "mixed"])
def test_targets_are_counted_as_they_are_ranked(name, request):
    data = request.getfixturevalue(name)
    model = made("popularity", data)
    model.fit(data, "test")
    ranking = evaluate_scorer(lambda batch: score_batch(model, batch), data, make_ranking_batches(data, "test", None))
    found = split_statistics.describe_test_targets(data)
    assert (found["users"], found["targets"]) == (ranking.n_users, ranking.n_targets)
    assert found["cold_targets"] * found["targets"] == pytest.approx(ranking.n_cold_targets)


def test_order_of_a_shuffled_split_does_not_matter(tmp_path):
    ordered = prepared(tmp_path / "a", planted_log())
    shuffled = prepared(tmp_path / "b", planted_log(), Random())
    assert log_statistics.describe_pauses(shuffled) == log_statistics.describe_pauses(ordered)
    assert log_statistics.describe_ties(shuffled) == log_statistics.describe_ties(ordered)


def test_baskets_explain_their_ties(shop):
    found = log_statistics.describe_ties(shop)
    assert found["share"] > 0.5
    assert found["outside_baskets"] == 0


def test_gini_of_known_counts():
    assert log_statistics.describe_item_popularity(np.array([0, 5, 5, 5]))["gini"] == pytest.approx(0)
    assert log_statistics.describe_item_popularity(np.array([1, 3]))["gini"] == pytest.approx(0.25)
    found = log_statistics.describe_item_popularity(np.array([90, *[1] * 9, 1]))
    assert found["top"]["10%"] == pytest.approx(0.9)
    assert found["items_of_one_event"] == pytest.approx(10 / 11)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_gini_is_the_mean_difference(counts):
    values = np.array(counts)
    found = log_statistics.describe_item_popularity(values)
    apart = np.abs(values[:, None] - values).mean()
    assert found["gini"] == pytest.approx(apart / (2 * values.mean()))
    curve = np.array(found["curve"]["events"])
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(1)
    assert (np.diff(curve) >= 0).all()


def test_missing_metadata_counts_rows_nulls_and_blanks():
    table = pd.DataFrame(
        {"title": ["x", " ", None, None], "price": [1.0, np.nan, 2.0, None], "_row": [True] * 3 + [None]}
    )
    assert compute_missing_shares(table) == {"the whole row": 0.25, "title": 0.75, "price": 0.5}


def test_titles_and_categories_are_found_by_name_or_by_kind():
    table = pd.DataFrame({"code": ["1", "2", "1"], "kind": ["a|b", "b", None], "name": ["x", None, "z"], "_row": True})
    assert choose_item_titles(table, None, [7, 8, 9]) == ["x", "8", "z"]
    assert choose_item_titles(None, None, [7]) == ["7"]
    assert choose_item_categories(table, None, [], "|").fillna("").tolist() == ["a", "b", ""]
    assert choose_item_categories(table, "code", [], "|").tolist() == ["1", "2", "1"]
    assert choose_item_categories(None, None, [], "|") is None
    with pytest.raises(ConfigError, match="title=nmae: the item table has no such column; it has: code, kind"):
        choose_item_titles(table, "nmae", [7, 8, 9])
    with pytest.raises(ConfigError, match=r"category=kind: .* name one under data\.source\.items"):
        choose_item_categories(None, "kind", [], "|")


def judged(targets=10**6, users=10**5, items=1000, repeated=0.5, exclude_seen=False, has_order=True):
    training = {"targets": targets, "users_of_2": users, "users_of_3": users, "targets_an_item": targets / items}
    found = sufficiency.check_sufficiency(training, {"repeated_targets": repeated}, exclude_seen, has_order)
    return sufficiency.group_models_by_verdict(found)["enough"]


def test_the_verdict_follows_its_rules():
    counting, learned = ["popularity", "item_knn", "ease"], ["two_tower", "ncf"]
    assert judged() == ["popularity", "personal_frequency", "item_knn", "ease", "two_tower", "ncf", "sasrec"]
    assert judged(exclude_seen=True) == [*counting, *learned, "sasrec"]
    assert judged(repeated=0.0, has_order=False) == [*counting, *learned]
    assert judged(targets=100_000, repeated=0.0) == counting
    assert judged(targets=100_000, repeated=0.0, items=50_000) == ["popularity"]
    assert judged(targets=999) == []


def test_an_interval_is_as_wide_as_its_users_make_it():
    assert sufficiency.compute_half_width(sufficiency.count_users_for_half_width(0.01)) == pytest.approx(0.01, rel=1e-3)
    assert sufficiency.count_users_for_half_width(0.01) == 3458
    values = np.random.default_rng(0).choice([0, 0.6], 2000)  # a deviation of .3
    assert 1.96 * values.std() / np.sqrt(len(values)) == pytest.approx(sufficiency.compute_half_width(2000), rel=0.02)


def test_a_log_without_times_or_tests_has_a_page_too(tmp_path):
    frame = pd.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "x"]})
    found = compute_data_report(prepared(tmp_path, frame, columns=Columns(timestamp=None)), {})
    assert found["days"] is found["gaps"] is found["ties"] is None
    text = render_page(lay_out_data_report(found))
    assert "no user has a target in the test part" in text
    assert "without times" in text


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run with baselines on a shop whose item titles contain HTML."""
    folder = tmp_path_factory.mktemp("ran")
    events = planted_log(n_users=90)
    events.to_csv(folder / "events.csv", index=False)
    items = pd.DataFrame({"item": sorted(events["item"].unique())})
    items.assign(title=HOSTILE, kind=[HOSTILE if n % 2 else "plain" for n in range(len(items))]).to_csv(
        folder / "items.csv", index=False
    )
    config = composed(
        "data=csv", f"data.path={folder}/events.csv", f"data.source.items={folder}/items.csv", "ks=[5]", "threads=1",
        f"data.folder={folder}/data", "model=two_tower", "model.dim=8", "trainer=debug", "trainer.max_epochs=2",
        "trainer.enable_progress_bar=false", "~baselines.ease", "~baselines.recent_popularity", 'data.name="b<w"',
    )  # fmt: skip
    found = Run.create(folder / "run", config)
    train_run(found)
    return found


@pytest.fixture(scope="module")
def reported(ran):
    """The page of that run and its JSON file."""
    report_run(str(ran.folder), None, None, None, 1000, 4, 20, 0)
    return (ran.folder / "report.html").read_text(), json.loads((ran.folder / "report.json").read_text())


def test_what_users_wrote_is_shown_as_text(reported):
    text, numbers = reported
    assert "<script" not in text
    assert "b&lt;w" in text
    assert "b<w" not in text
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; $5" in text
    assert numbers["examples"][0]["list"][0]["title"] == HOSTILE
    assert "&lt;script&gt;alert" in re.search(r"<svg[^>]*map of item.*?</svg>", text, re.S)[0]


def test_a_page_loads_nothing_and_names_nobody(reported):
    text, numbers = reported
    assert not re.findall(r'(?:src|href)="(?!#|data:,)', text)
    assert "@import" not in text
    assert not re.search(r"\bu\d\d\b", text + json.dumps(numbers))
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_figures_are_those_of_the_run(ran, reported):
    _, numbers = reported
    metrics = ran.read_json("metrics")
    shown = {row["name"]: row for row in numbers["figures"]}
    assert set(shown) == {"two_tower", "popularity", "personal_frequency", "item_knn"}
    assert shown["two_tower"]["ndcg"] == metrics["test"]["ndcg@5"]
    assert shown["item_knn"]["low"] == metrics["baselines"]["item_knn"]["test"]["ndcg@5/low"]
    assert numbers["ranked_users"] == metrics["test"]["n_users"]
    best = max((row for row in numbers["figures"] if not row["model"]), key=lambda row: row["ndcg"])
    apart = shown["two_tower"]["ndcg"] - best["ndcg"]
    assert f"differs by {apart:+.4f}" in numbers["verdict"]
    for rankings in numbers["by"].values():
        own = [row for row in rankings["two_tower"] if "ndcg" in row]
        assert sum(row["targets"] for row in own) <= metrics["test"]["n_targets"]
    length = [row for row in numbers["by"]["history length"]["two_tower"] if "ndcg" in row]
    mean = sum(row["ndcg"] * row["users"] for row in length) / sum(row["users"] for row in length)
    assert mean == pytest.approx(metrics["test"]["ndcg@5"], abs=1e-6)


def test_examples_mark_what_came(reported):
    for one in reported[1]["examples"]:
        assert len(one["list"]) == 5
        assert one["targets"] == 1
        assert one["came"][0]["hit"] == any(item["hit"] for item in one["list"])


def test_settings_that_differ_are_told(reported):
    changed = reported[1]["settings"]
    assert changed["model.dim"][1] == 8
    assert changed["trainer.max_epochs"][1] == 2
    assert changed["data.name"] == ["csv", "b<w"]
    assert "seed" not in changed
    assert "data.exclude_seen" not in changed
    assert not any(name.startswith("data.folder") for name in changed)


def test_context_is_a_table_where_it_was_measured(reported):
    context = {"ndcg@10": 0.5, "fields": {"hour": {"unknown": 0.45, "shuffled": 0.4}}, "all": {"unknown": 0.3}}
    text = render_page(lay_out_run_report({**reported[1], "context": context}))
    assert "0.4500 (-0.0500)" in text
    assert "0.4000 (-0.1000)" in text
    assert "all of them" in text
    assert "What context contributes" in text
    assert "What context contributes" not in reported[0]


def test_a_run_of_few_users_shows_no_segment(reported):
    hidden = {"two_tower": [{"segment": "1-5 events", "users": "< 20"}]}
    text = render_page(lay_out_run_report({**reported[1], "by": {"history length": hidden}}))
    assert "not shown" in text
    assert "1-5 events" in text


def test_curves_of_a_resumed_run_go_on(tmp_path):
    run = Run.create(tmp_path, composed())
    for version, rows in {
        0: "0,1,7.0,\n0,1,,.1\n1,2,6.0,\n",
        2: "1,2,5.5,\n1,2,,.2\n",
        10: "2,3,5.0,\n2,3,,.3\n",
    }.items():
        folder = tmp_path / f"csv/version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"epoch,step,train/loss,val/ndcg@10\n{rows}")
    (tmp_path / "csv/version_11").mkdir()
    (tmp_path / "csv/version_11/metrics.csv").write_text("")
    found = run_results.read_learning_curves(run)
    assert found["train/loss"] == {"epoch": [0, 1, 2], "value": [7.0, 5.5, 5.0]}
    assert found["val/ndcg@10"] == {"epoch": [0, 1, 2], "value": [0.1, 0.2, 0.3]}


def test_a_run_without_test_users_metrics_or_curves_has_a_page(tmp_path):
    pd.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "x"], "timestamp": [1, 2, 3]}).to_csv(tmp_path / "e.csv")
    config = composed(
        "data=csv", f"data.path={tmp_path}/e.csv", f"data.folder={tmp_path}/data", "model=popularity", "ks=[1]"
    )
    run = Run.create(tmp_path / "run", config)
    said = report_run(str(run.folder), str(tmp_path / "out/page.html"), None, None, 10, 3, 20, 0)
    assert said[0] == "Not ranked: no user has a target in the test part."
    text = (tmp_path / "out/page.html").read_text()
    assert "it has no metrics.json" in text
    assert "This model has no item vectors to draw." in text
    with pytest.raises(ConfigError, match="n_users=0, n_examples=3 is invalid: expected n_users ≥ 1"):
        report_run(str(run.folder), None, None, None, 0, 3, 20, 0)


def test_ranking_again_gives_the_same_figures(shop):
    model = made("popularity", shop)
    model.fit(shop, "test")
    ranking = evaluate_scorer(lambda batch: score_batch(model, batch), shop, make_ranking_batches(shop, "test", None))
    users = select_test_users(shop, 10**6, 0)
    found = rank_test_targets(model, shop, users)
    assert np.sort(compute_user_ndcg(found.users, found.ranks, 10)) == pytest.approx(
        np.sort(ranking.per_user["ndcg@10"])
    )
    assert len(select_test_users(shop, 5, 0)) == 5
    names, third = group_by_popularity(shop, np.arange(shop.n_items + 1))
    held = [shop.item_counts[third == n].sum() / shop.item_counts.sum() for n in range(3)]
    assert held == pytest.approx([1 / 3] * 3, abs=shop.item_counts.max() / shop.item_counts.sum())
    assert len(names) == 4


def test_small_segments_stay_hidden(shop):
    model = made("popularity", shop)
    model.fit(shop, "test")
    found = rank_test_targets(model, shop, select_test_users(shop, 10**6, 0))
    names, quarter = group_by_history_length(shop, found.users)
    whole = compute_group_ndcg(found, names, quarter, 10, 1)
    assert sum(row["users"] for row in whole) == len(np.unique(found.users))
    assert sum(row["targets"] for row in whole) == len(found.ranks)
    hidden = compute_group_ndcg(found, names, quarter, 10, 20)
    assert all(row == {"segment": row["segment"], "users": "< 20"} for row in hidden)


def test_the_map_has_the_most_popular_items(shop):
    model = made("two_tower", shop)
    found = compute_item_map(model, shop, [f"t{n}" for n in range(1, 100)], None)
    assert found["items"][0]["title"] == f"t{shop.item_counts.argmax()}"
    assert len(found["items"]) == shop.n_items
    assert 0 < sum(found["share"]) <= 1 + 1e-6
    assert compute_item_map(made("popularity", shop), shop, [], None) is None


def test_every_part_of_a_page_is_escaped():
    section = Section(
        HOSTILE, [HOSTILE], [[HOSTILE], [HOSTILE]], lists=[ItemLists(HOSTILE, {HOSTILE: [ListItem(HOSTILE, True)]})]
    )
    text = render_page([section, section])
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 12


def test_the_command_writes_page_and_numbers(tmp_path):
    items = pd.DataFrame({"item": [f"i{n:02}" for n in range(25)], "title": [None] * 5 + ["x"] * 20})
    planted_log().to_csv(tmp_path / "events.csv", index=False)
    items.to_csv(tmp_path / "items.csv", index=False)
    config = composed("data=csv", f"data.path={tmp_path}/events.csv", f"data.source.items={tmp_path}/items.csv",
                      f"data.folder={tmp_path}/data", "split=global_time", f"out={tmp_path}/new/page.html",
                      name="report_data")  # fmt: skip
    assert build(config)[-1].startswith("written: ")
    numbers = json.loads((tmp_path / "new/page.json").read_text())
    assert numbers["split"]["name"] == "GlobalTime"
    assert numbers["missing"]["item"] == {"the whole row": 0.0, "title": pytest.approx(0.2)}
    assert "item: title: 20.0%" in (tmp_path / "new/page.html").read_text()
