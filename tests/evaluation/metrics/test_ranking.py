"""Ranking and list metrics against plain loops, answers worked by hand, and the rules they keep."""

import pickle
from math import log2
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys.evaluation.metrics.beyond_accuracy import (
    BEYOND,
    Coverage,
    Gini,
    ListMetric,
    Novelty,
    PopularityLift,
    beyond_metrics,
)
from recsys.evaluation.metrics.ranking import RANKING, HitRate, RankingMetric, ranking_metrics

MISSED = 2**62
COUNTS = torch.tensor([0, 8, 4, 4, 0])


def possible(rows: list[list[int]]) -> list[list[int]]:
    """Rows raised to ranks that can be: at least j targets are at or above the j-th best."""
    return [[max(rank, sum(r <= rank for r in row)) for rank in row] for row in rows]


RANK = st.one_of(st.integers(1, 12), st.just(MISSED))
ROWS = st.lists(st.lists(RANK, min_size=1, max_size=6), min_size=1, max_size=5).map(possible)
K = st.integers(1, 8)
LISTS = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=6)


def padded(rows: list[list[int]], front: int = 0) -> Tensor:
    """Ranks (B, T), with `front` columns of padding before each row and what is missing after it."""
    width = max(map(len, rows))
    return torch.tensor([[0] * front + row + [0] * (width - len(row)) for row in rows])


def reference(row: list[int], k: int) -> dict[str, float]:
    hits = sorted(rank for rank in row if rank <= k)
    best = min(len(row), k)
    ideal = sum(1 / log2(place + 1) for place in range(1, best + 1))
    return {
        "ndcg": sum(1 / log2(rank + 1) for rank in hits) / ideal,
        "hr": float(bool(hits)),
        "recall": len(hits) / len(row),
        "precision": len(hits) / k,
        "mrr": 1 / hits[0] if hits else 0.0,
        "map": sum(j / rank for j, rank in enumerate(hits, start=1)) / best,
    }


def per_user(kind: type[RankingMetric], ranks: Tensor, k: int) -> Tensor:
    metric = kind(k)
    metric.update(ranks)
    return metric.per_user


@given(ROWS, K, st.integers(0, 2))
def test_ranking_equals_the_loops_wherever_the_padding_is(rows: list[list[int]], k: int, front: int) -> None:
    for kind in RANKING:
        values = per_user(kind, padded(rows, front), k)
        expected = [reference(row, k)[kind.short_name] for row in rows]
        assert values.tolist() == pytest.approx(expected, abs=1e-6)
        assert ((values >= 0) & (values <= 1 + 1e-6)).all()


@given(ROWS, K)
def test_the_order_of_targets_means_nothing(rows: list[list[int]], k: int) -> None:
    for kind in RANKING:
        reverse = per_user(kind, padded(rows).flip(1), k)
        assert torch.allclose(per_user(kind, padded(rows), k), reverse)


@given(st.lists(RANK, min_size=1), K)
def test_one_target_a_user(ranks: list[int], k: int) -> None:
    value = {kind.short_name: per_user(kind, torch.tensor(ranks)[:, None], k) for kind in RANKING}
    assert torch.equal(value["recall"], value["hr"])
    assert torch.equal(value["map"], value["mrr"])
    assert torch.allclose(value["precision"], value["hr"] / k)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # three targets, two of them in the first four; the ideal list has three
        ([3, 1, MISSED], {"ndcg": 1.5 / (1.5 + 1 / log2(3)), "recall": 2 / 3, "map": (1 + 2 / 3) / 3}),
        # tied: both at the worse of their two places
        ([2, 2], {"ndcg": (2 / log2(3)) / (1 + 1 / log2(3)), "mrr": 0.5, "map": (1 / 2 + 2 / 2) / 2}),
        # more targets than places: the perfect list is worth 1 except to recall
        ([1, 2, 3, 4, 5], {"ndcg": 1, "recall": 0.8, "precision": 1, "hr": 1, "mrr": 1, "map": 1}),
        ([5], {"ndcg": 0, "recall": 0, "precision": 0, "hr": 0, "mrr": 0, "map": 0}),
        ([MISSED, 2**63 - 1], {"ndcg": 0, "recall": 0, "precision": 0, "hr": 0, "mrr": 0, "map": 0}),
    ],
)
def test_ranking_at_4_by_hand(row: list[int], expected: dict[str, float]) -> None:
    values = {kind.short_name: float(per_user(kind, padded([row, [0]]), 4)[0]) for kind in RANKING}
    assert {name: values[name] for name in expected} == pytest.approx(expected)


@given(ROWS, ROWS, K)
def test_batches_add_up_and_reset_forgets(first: list[list[int]], second: list[list[int]], k: int) -> None:
    metrics = ranking_metrics([k])
    metrics.update(padded([[1]]))
    metrics.reset()
    for rows in (first, second):
        metrics.update(padded(rows))
    whole = ranking_metrics([k])
    whole.update(padded(first + second))
    assert {n: float(v) for n, v in metrics.compute().items()} == pytest.approx(
        {n: float(v) for n, v in whole.compute().items()}
    )


def test_metrics_that_agree_on_the_first_batch_stay_apart() -> None:
    metrics = ranking_metrics([2, 4])
    for rows in ([[1]], [[1, 3]]):
        metrics.update(padded(rows))
    values = metrics.compute()
    assert (float(values["hr@2"]), float(values["recall@2"]), float(values["recall@4"])) == (1, 0.75, 1)


def test_the_mean_names_and_a_copy() -> None:
    metric = pickle.loads(pickle.dumps(HitRate(2)))
    assert float(metric(padded([[1]]))) == 1  # forward: the value of the batch
    assert float(metric(padded([[5], [6]]))) == 0
    assert metric.per_user.tolist() == [1, 0, 0]
    assert float(metric.compute()) == pytest.approx(1 / 3)
    names = {f"{name}@{k}" for name in ("ndcg", "hr", "recall", "precision", "mrr", "map") for k in (1, 10)}
    assert set(ranking_metrics([1, 10])) == names


@pytest.mark.parametrize("kind", [*RANKING, *BEYOND])
def test_k_below_one_is_refused(kind: Any) -> None:
    arguments = (COUNTS,) if issubclass(kind, ListMetric) else ()
    with pytest.raises(ValueError, match=rf"k=0 of {kind.short_name} is invalid: expected a list length ≥ 1"):
        kind(*arguments, k=0)


def value(kind: type[ListMetric], lists: list[list[int]], k: int = 3, counts: Tensor = COUNTS) -> float:
    metric = kind(counts, k)
    metric.update(torch.tensor(lists))
    return float(metric.compute())


@settings(deadline=None)
@given(LISTS, st.integers(1, 4))
def test_beyond_equals_the_loops(lists: list[list[int]], k: int) -> None:
    shown = [item for row in lists for item in row[:k] if item]
    assert value(Coverage, lists, k) == pytest.approx(len(set(shown)) / 4)
    if not shown:
        return
    c = COUNTS.tolist()
    often = [shown.count(item) for item in range(1, 5)]
    bits = [-log2((c[item] + 1) / (16 + 4)) for item in shown]
    consumed = sum(n * n for n in c) / sum(c)
    assert value(Novelty, lists, k) == pytest.approx(sum(bits) / len(bits))
    assert value(PopularityLift, lists, k) == pytest.approx(sum(c[i] for i in shown) / len(shown) / consumed)
    gaps = sum(abs(a - b) for a in often for b in often)
    assert value(Gini, lists, k) == pytest.approx(gaps / (2 * 4 * len(shown)), abs=1e-6)


def test_beyond_extremes() -> None:
    assert value(Coverage, [[1, 2], [3, 4]]) == 1
    assert value(Coverage, [[0, 0]]) == 0
    assert value(Gini, [[1, 2], [3, 4]]) == 0
    assert value(Gini, [[2, 2], [2, 2]]) == pytest.approx(3 / 4)
    alike = torch.tensor([0] + [5] * 1024)
    assert value(Novelty, [[7, 9]], counts=alike) == pytest.approx(10)
    assert value(PopularityLift, [[7, 9]], counts=alike) == pytest.approx(1)
    assert value(Novelty, [[4]]) == pytest.approx(log2(20))  # never consumed, yet finite
    assert value(PopularityLift, [[4]]) == 0
    consumed = [[item] for item in range(5) for _ in range(int(COUNTS[item]))]
    assert value(PopularityLift, consumed) == pytest.approx(1)


def test_empty_slots_and_places_past_k_do_not_count() -> None:
    for kind in BEYOND:
        assert value(kind, [[0, 1, 0, 4], [2, 0, 0, 4]]) == value(kind, [[1], [2]])


def test_nothing_recommended_has_no_novelty() -> None:
    assert all(value(kind, [[0]]) != value(kind, [[0]]) for kind in (Novelty, Gini, PopularityLift))


@settings(deadline=None)
@given(LISTS, LISTS)
def test_lists_add_up_and_reset_forgets(first: list[list[int]], second: list[list[int]]) -> None:
    metrics = beyond_metrics(COUNTS, [1, 3])
    metrics(torch.tensor([[1, 2, 3]]))
    metrics.reset()
    for lists in (first, second):
        metrics(torch.tensor(lists))
    for kind in BEYOND:
        for k in (1, 3):
            expected = value(kind, first + second, k)
            assert float(metrics.compute()[f"{kind.short_name}@{k}"]) == pytest.approx(expected, nan_ok=True)


def test_lists_short_in_the_first_batch_keep_each_k_apart() -> None:
    metrics = beyond_metrics(COUNTS, [1, 3])
    for lists in ([[1, 0, 0]], [[1, 2, 3]]):
        metrics.update(torch.tensor(lists))
    values = metrics.compute()
    assert (float(values["coverage@1"]), float(values["coverage@3"])) == (0.25, 0.75)


def test_items_outside_the_catalogue_are_refused() -> None:
    for item in (-1, 5):
        with pytest.raises(ValueError, match="item_counts covers 0 to 4"):
            value(Coverage, [[item, 1]])


@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [0, -1, 3], [2, 1, 1]])
def test_impossible_counts_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match=r"item_counts.*padding|item_counts range from .*at least one in total"):
        Novelty(torch.tensor(counts), 3)
