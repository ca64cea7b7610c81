"""Runs side by side, those of one split together, the best on validation first."""

import json

import pandas as pd
import pytest

from recsys.errors import ConfigError
from recsys.evaluation.leaderboard import compare_runs
from recsys.run import Run
from recsys.serving.recommender import Recommender
from recsys.serving.similar import similar
from tests.composed import composed


def ranked(folder, split, validation, test, *words, baselines=None):
    run = Run.create(folder, composed(*words))
    own = {"ndcg@10": test, "ndcg@10/low": test - 0.01, "ndcg@10/high": test + 0.01, "coverage@10": 0.5}
    parts = {"validation": {"ndcg@10": validation, "coverage@10": 0.5}, "test": own}
    run.write_json("metrics", {**parts, "baselines": baselines or {}, "split_hash": split * 20})
    return run


@pytest.fixture
def runs(tmp_path):
    others = {"ease": {"test": {"ndcg@10": 0.31}}, "item_knn": {"test": {"ndcg@10": 0.33}}, "big": "not run"}
    ranked(tmp_path / "a" / "0", "x", 0.20, 0.40, "model=sasrec", "model.dim=32", "seed=2", baselines=others)
    ranked(tmp_path / "a" / "1", "x", 0.30, 0.35, "model=sasrec", "model.dim=64", "threads=1")
    ranked(tmp_path / "b", "x", 0.25, 0.34, "model=ncf").write_json("timing", {"epochs": 3, "cpu_s_train": 1234.5})
    ranked(tmp_path / "c", "y", 0.99, 0.99, "model=ncf", "data=movielens_100k")
    Run.create(tmp_path / "unranked", composed())
    return tmp_path


def test_validation_picks_and_splits_are_kept_apart(runs, tmp_path):
    text = "\n".join(compare_runs(str(runs), "ndcg@10", str(tmp_path / "all.csv")))
    first, second = text.split("movielens_100k, split")
    lines = first.splitlines()
    assert lines[0].startswith("complete_journey, split xxxxxxxxxxxx: 3 runs")
    assert [line.split()[0] for line in lines[2:5]] == ["sasrec", "ncf", "sasrec"]
    assert [line.split()[2] for line in lines[2:5]] == ["0.3500", "0.3400", "0.4000"]
    assert "0.3300-0.3500" in lines[3]
    assert "1,234" in lines[3]
    assert "baselines, test ndcg@10: item_knn 0.3300, ease 0.3100" in first
    assert "0.9900" in second
    rows = pd.read_csv(tmp_path / "all.csv")
    assert rows["run"].tolist() == ["a/1", "b", "a/0", "c"]


def test_settings_are_those_in_which_runs_of_a_model_differ(runs, tmp_path):
    compare_runs(str(runs), "ndcg@10", str(tmp_path / "all.csv"))
    settings = pd.read_csv(tmp_path / "all.csv", keep_default_na=False).set_index("run")["settings"]
    assert set(settings["a/0"].split()) == {"model.dim=32", "seed=2"}
    assert set(settings["a/1"].split()) == {"model.dim=64", "seed=1"}
    assert settings["b"] == ""


def test_a_metric_without_an_interval_has_none(runs):
    assert "0.5000" in "\n".join(compare_runs(str(runs), "coverage@10", None))


@pytest.mark.parametrize(
    ("folder", "metric", "reason"),
    [("nowhere", "ndcg@10", "no run below"), (".", "ndcg@7", r"has no ndcg@7; it has: coverage@10, ndcg@10")],
)
def test_what_cannot_be_shown_is_said(runs, folder, metric, reason):
    with pytest.raises(ConfigError, match=reason):
        compare_runs(str(runs / folder), metric, None)


def test_a_damaged_file_is_said(runs):
    (runs / "b" / "metrics.json").write_text(json.dumps({})[:1])
    with pytest.raises(ConfigError, match=r"metrics.json or timing.json below .* is not valid JSON"):
        compare_runs(str(runs), "ndcg@10", None)


def test_what_goes_with_an_item(artefact):
    file = Recommender(artefact("two_tower"))
    item = file.recommend(k=1).items[0]
    found = file.similar(item, 3)
    assert [line.split()[1] for line in similar(str(artefact("two_tower")), item, 3)] == found.items
    with pytest.raises(ConfigError, match="does not know item='nothing'"):
        similar(str(artefact("two_tower")), "nothing", 3)
    with pytest.raises(ConfigError, match="there is no file"):
        similar("nowhere.onnx", item, 3)
