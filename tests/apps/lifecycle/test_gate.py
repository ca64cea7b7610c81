"""A challenger is promoted only where nothing that counts is lost."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.apps.lifecycle import gate
from recsys.apps.lifecycle.gate import PromotionLimits, check_challenger
from recsys.apps.lifecycle.rank_files import compute_list_overlap, rank_file
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, score_batch
from tests.contracts.test_models import made

LOOSE = PromotionLimits(latency=1000.0)


@pytest.fixture(scope="module")
def champion(shop, artefact):
    return rank_file(artefact("sasrec"), shop, None)


def test_a_file_is_ranked_as_its_model_is(champion, shop):
    model = made("sasrec", shop)
    wanted = evaluate_scorer(
        lambda batch: score_batch(model, batch), shop, make_ranking_batches(shop, "test", 20), (10,)
    )
    assert champion.ranking.metrics["ndcg@10"] == pytest.approx(wanted.metrics["ndcg@10"], rel=0.01)
    assert champion.ranking.n_users == wanted.n_users
    assert sorted(champion.users) == sorted(make_ranking_batches(shop, "test", None).rows)
    assert champion.lists.shape == (wanted.n_users, 10)


def test_some_users_are_the_same_for_every_file(shop, artefact):
    found = [rank_file(artefact(name), shop, 7) for name in ("sasrec", "two_tower")]
    assert (found[0].users == found[1].users).all()
    assert len(found[0].users) == 7


def changed(champion, change, coverage=1.0):
    """The champion with other values for each user."""
    ranking = champion.ranking
    metrics = ranking.metrics | {"coverage@10": ranking.metrics["coverage@10"] * coverage}
    values = {name: change(each) for name, each in ranking.per_user.items()}
    return replace(champion, ranking=replace(ranking, per_user=values, metrics=metrics))


def verdicts(champion, challenger, shop, limits=LOOSE):
    return {line.name: line.passed for line in check_challenger(champion, challenger, shop, limits)}


def test_the_same_file_holds(champion, shop):
    found = verdicts(champion, champion, shop)
    assert all(found.values())
    assert set(found) == {"ndcg@10", "coverage@10", "latency", "parity", "worst segment", "overlap"}


@pytest.mark.parametrize(("factor", "holds"), [(1.2, True), (0.995, True), (0.98, False), (0.5, False)])
def test_a_challenger_may_lose_a_hundredth(champion, shop, factor, holds):
    assert verdicts(champion, changed(champion, lambda each: each * factor), shop)["ndcg@10"] is holds


def test_a_gain_that_may_be_chance_is_no_gain(champion, shop):
    rng = np.random.default_rng(0)
    noisy = changed(champion, lambda each: each * 1.02 + rng.normal(0, 0.3, len(each)))
    assert not verdicts(champion, noisy, shop)["ndcg@10"]


def test_lists_may_not_shrink_to_a_few_items(champion, shop):
    assert verdicts(champion, changed(champion, np.copy, 0.81), shop)["coverage@10"]
    assert not verdicts(champion, changed(champion, np.copy, 0.79), shop)["coverage@10"]


def test_a_slow_challenger_is_refused(champion, shop):
    assert not verdicts(champion, champion, shop, PromotionLimits(latency=1e-6))["latency"]


def test_a_segment_may_not_pay_for_the_rest(champion, shop, monkeypatch):
    monkeypatch.setattr(gate, "LENGTHS", {"short": (0, 29), "long": (30, np.inf)})
    name, mask = "long", gate.build_segment_masks(shop, champion.users)["long"]
    assert 5 <= mask.sum() < len(mask)
    unfair = changed(champion, lambda each: np.where(mask, each * 0.5, each * 2))
    lines = {line.name: line for line in check_challenger(champion, unfair, shop, replace(LOOSE, smallest=5))}
    assert lines["ndcg@10"].passed
    assert not lines["worst segment"].passed
    assert name in lines["worst segment"].message
    assert str(lines["worst segment"]).startswith("FAIL worst segment: ")


def test_overlap_counts_items_in_common():
    first = np.array([[1, 2, 3, 4], [1, 2, 0, 0]])
    assert compute_list_overlap(first, first) == 1
    assert compute_list_overlap(first, np.array([[4, 3, 8, 9], [5, 6, 7, 0]])) == 0.25
