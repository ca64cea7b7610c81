"""The table and the sentence under it."""

import numpy as np
import pytest

from recsys.evaluation.evaluate import Ranking
from recsys.evaluation.tables import compare_to_best, format_rankings, format_segments, ranking_to_json

METRICS = ("ndcg", "hr", "recall", "mrr", "coverage", "popularity_lift")


def ranking(values, k=10):
    values = np.asarray(values, dtype=float)
    metrics = {f"{name}@{k}": float(values.mean()) for name in METRICS}
    interval = {f"ndcg@{k}": (float(values.min()), float(values.max()))}
    return Ranking(k, metrics, {}, interval, {f"ndcg@{k}": values}, len(values), len(values), 0)


def test_the_best_stands_first():
    lines = format_rankings({"poor": ranking([0.1, 0.2]), "good": ranking([0.5, 0.7])}).splitlines()
    assert "ndcg@10" in lines[0]
    assert lines[1].startswith("good")
    assert "0.5000-0.7000" in lines[1]


def test_other_list_lengths_name_themselves():
    assert "ndcg@2" in format_rankings({"model": ranking([0.1, 0.2], k=2)})


@pytest.mark.parametrize(
    ("shift", "expected"), [(0.2, "beats the best baseline"), (-0.2, "does NOT beat"), (0.0, "does not clearly beat")]
)
def test_the_sentence_says_who_is_better(shift, expected):
    base = np.random.default_rng(0).random(200)
    noise = np.random.default_rng(1).normal(0, 0.05, 200)
    weak = ranking(base * 0)
    assert expected in compare_to_best(
        "model", ranking(base + shift + noise - noise.mean()), {"weak": weak, "best": ranking(base)}
    )


def test_json_holds_intervals_and_counts():
    found = ranking_to_json(ranking([0.5, 0.7]))
    assert found["ndcg@10/low"] == 0.5
    assert found["n_users"] == 2


def test_diversity_is_shown_where_it_was_measured():
    varied = ranking([0.5, 0.7])
    varied.metrics["diversity@10"] = 0.25
    assert "diversity@10" in format_rankings({"model": varied}) and "0.2500" in format_rankings({"model": varied})
    assert "diversity" not in format_rankings({"model": ranking([0.5, 0.7])})


def by_age(values, young, old):
    found = ranking(values)
    counts = {"n_users": 1200, "n_targets": 3}
    found.segments = {
        "user.age": {
            "20-30": {"ndcg@10": young, "hr@10": 0.5, **counts},
            "30-60": {"ndcg@10": old, "hr@10": 1, **counts},
        }
    }
    return found


def test_segments_stand_beside_the_best_baseline():
    model, best, weak = by_age([0.5, 0.7], 0.1, 0.2), by_age([0.4, 0.6], 0.3, 0.4), by_age([0.1, 0.1], 0.6, 0.7)
    (text,) = format_segments("model", model, {"weak": weak, "best": best})
    head, young, old = (line.split() for line in text.splitlines())
    assert " ".join(head) == "user.age users targets model ndcg@10 model hr@10 best ndcg@10 best hr@10"
    assert young == ["20-30", "1,200", "3", "0.1000", "0.5000", "0.3000", "0.5000"]
    assert old == ["30-60", "1,200", "3", "0.2000", "1.0000", "0.4000", "1.0000"]
    assert "best" not in format_segments("model", model, {})[0]
    assert format_segments("model", ranking([0.5, 0.7]), {}) == []
    assert ranking_to_json(model)["segments"]["user.age"]["30-60"]["n_users"] == 1200
    assert "segments" not in ranking_to_json(ranking([0.5, 0.7]))
