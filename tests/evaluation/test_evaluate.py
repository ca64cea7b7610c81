"""Ranking, on scores whose order is known."""

import numpy as np
import pytest
import torch

from recsys.data.batches.batch import Batch
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import UNREACHABLE, hide_seen, make_ranking_batches, rank_targets


def batch(target, row, n_users, seen=None):
    none = torch.zeros(n_users, 1, dtype=torch.long)
    return Batch(
        user={"id": none[:, 0]}, history=none, events={}, request={}, positions=none, queries=torch.arange(n_users),
        targets=torch.tensor(target), target_query=torch.tensor(row), seen=seen,
    )  # fmt: skip


def test_rank_counts_items_that_score_at_least_as_high():
    scores = torch.tensor([[-torch.inf, 0.5, 0.9, 0.5, 0.1], [-torch.inf, 0.0, 0.0, 0.0, 0.0]])
    ranks = rank_targets(scores, batch([1, 4, 2], [0, 0, 1], 2), n_items=4)
    assert ranks.tolist() == [[3, 4], [4, 0]]  # a tie counts against the model


def test_seen_and_cold_targets_are_out_of_reach():
    scores = torch.tensor([[-torch.inf, 3.0, 2.0, 1.0]])
    asked = batch([1, 2, 9], [0, 0, 0], 1, seen=(torch.tensor([0]), torch.tensor([1])))
    hide_seen(scores, asked)
    assert rank_targets(scores, asked, n_items=3).tolist() == [[UNREACHABLE, 1, UNREACHABLE]]


@pytest.mark.parametrize("chunk", [1, 2, 1024])
def test_ranks_do_not_depend_on_the_chunk(chunk):
    scores = torch.rand(3, 50)
    asked = batch([3, 4, 49, 7, 9], [0, 0, 1, 2, 2], 3)
    assert torch.equal(rank_targets(scores, asked, 49, chunk), rank_targets(scores, asked, 49))


def test_nan_scores_are_refused():
    with pytest.raises(FloatingPointError, match="NaN"):
        hide_seen(torch.tensor([[0.0, torch.nan]]), batch([1], [0], 1))


def oracle(dataset, part):
    """Scores 1 for the targets, 0 elsewhere."""

    def scorer(asked):
        scores = torch.zeros(len(asked.history), dataset.n_items + 1)
        known = asked.targets <= dataset.n_items
        scores[asked.target_query[known], asked.targets[known]] = 1 + torch.rand(int(known.sum()))
        scores[:, 0] = -torch.inf
        return scores

    return evaluate_scorer(scorer, dataset, make_ranking_batches(dataset, part, None), (5, 10))


@pytest.mark.parametrize("part", ["validation", "test"])
def test_an_oracle_is_perfect_on_warm_targets_that_were_not_seen(shop, part):
    found = oracle(shop, part)
    many = found.n_targets / found.n_users
    assert found.warm["hr@10"] == 1.0
    assert found.metrics["hr@10"] <= 1.0
    assert many > 1


def test_constant_scores_are_the_worst_of_ties(shop):
    found = evaluate_scorer(
        lambda asked: torch.zeros(len(asked.history), shop.n_items + 1),
        shop,
        make_ranking_batches(shop, "test", None),
        (5,),
    )
    assert found.metrics["hr@5"] == 0.0
    assert found.n_users == len(found.per_user["hr@5"])


def test_every_user_with_a_target_is_ranked_once(dataset):
    users = int((np.diff(dataset.bounds, axis=1)[:, 0] > 0).sum())
    assert sum(len(asked.history) for asked in make_ranking_batches(dataset, "validation", 10, budget=100)) == users


@pytest.mark.parametrize("part", ["validation", "test"])
def test_figures_do_not_depend_on_how_many_users_wait(shop, part, monkeypatch):
    def scorer(asked):
        items = torch.arange(shop.n_items + 1.0)
        return torch.sin(items * (1 + asked.users[:, None])).index_fill(1, torch.tensor(0), -torch.inf)

    found = {}
    for waiting in (1, 10, 10_000):
        monkeypatch.setattr("recsys.evaluation.evaluate.BLOCK", waiting)
        batches = make_ranking_batches(shop, part, None, budget=3 * shop.n_items)
        found[waiting] = evaluate_scorer(scorer, shop, batches, (5, 10))
    one = found.pop(1)
    assert len(one.per_user["ndcg@10"]) == one.n_users
    for other in found.values():
        assert (other.metrics, other.warm, other.intervals) == (one.metrics, one.warm, one.intervals)
        assert all((other.per_user[name] == values).all() for name, values in one.per_user.items())
