"""The table and the sentence under it."""

import numpy as np
import pytest

from recsys.evaluation import Ranking
from recsys.report import as_json, table, verdict

METRICS = ("ndcg", "hr", "recall", "mrr", "coverage", "popularity_lift")


def ranking(values, k=10):
    values = np.asarray(values, dtype=float)
    metrics = {f"{name}@{k}": float(values.mean()) for name in METRICS}
    interval = {f"ndcg@{k}": (float(values.min()), float(values.max()))}
    return Ranking(k, metrics, {}, interval, {f"ndcg@{k}": values}, len(values), len(values), 0)


def test_the_best_stands_first():
    lines = table({"poor": ranking([0.1, 0.2]), "good": ranking([0.5, 0.7])}).splitlines()
    assert "ndcg@10" in lines[0]
    assert lines[1].startswith("good")
    assert "0.5000-0.7000" in lines[1]


def test_other_list_lengths_name_themselves():
    assert "ndcg@2" in table({"model": ranking([0.1, 0.2], k=2)})


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.2, "beats the best baseline"), (-0.2, "does NOT beat"), (0.0, "does not clearly beat")]
)
def test_the_sentence_says_who_is_better(shift, expected):
    base = np.random.default_rng(0).random(200)
    noise = np.random.default_rng(1).normal(0, 0.05, 200)
    weak = ranking(base * 0)
    assert expected in verdict(
        "model", ranking(base + shift + noise - noise.mean()), {"weak": weak, "best": ranking(base)}
    )


def test_json_holds_intervals_and_counts():
    found = as_json(ranking([0.5, 0.7]))
    assert found["ndcg@10/low"] == 0.5
    assert found["n_users"] == 2
