"""Explanations: checked against a model whose votes are known; the same over HTTP as in Python."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from recsys.apps.benchmark import explain as measured
from recsys.serving import explain as serving
from recsys.serving.app import create_app
from recsys.serving.explain import compute_drops, explain, find_reasons, plan_leave_one_out
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender, RequestError
from recsys.serving.schemas import ServerLimits

NOW = 1_700_000_000


@pytest.fixture
def file(artefact, monkeypatch):
    """A model file with few items; the threshold is lowered because drops are smaller than in large catalogues."""
    monkeypatch.setattr(serving, "THRESHOLD", 0.1)
    monkeypatch.setattr(measured, "THRESHOLD", 0.1)
    return Recommender(artefact("item_knn"))


def strongest(file, history):
    """By item, the item of the history that alone gives it the highest score."""
    votes = {own: dict(zip(*file.recommend([own], k=40, exclude_seen=False)[:2], strict=True)) for own in history}
    return {item: max(history, key=lambda own: votes[own][item]) for item in votes[history[0]]}


def test_the_named_item_is_the_one_without_which_the_score_is_lowest(file):
    history = ["i03", "i11", "i20", "i03"]
    items = file.recommend(history, k=8).items
    plan = plan_leave_one_out(file, items, [], history)
    assert plan.left_out == ["i03", "i20", "i11"]
    assert [question.history for question in plan.requests[1:]] == [
        ["i11", "i20"],
        ["i03", "i11", "i03"],
        ["i03", "i20", "i03"],
    ]
    everything = file.recommend(k=40).items
    for item, because, drop in explain(file, items, history):
        likely = {name: log_share(file, kept(history, name), item, everything) for name in [None, *plan.left_out]}
        lost = {name: likely[None] - likely[name] for name in plan.left_out}
        assert drop == pytest.approx(max(lost.values()), abs=1e-3)
        assert because == (max(lost, key=lost.get) if drop >= serving.THRESHOLD else None)


def kept(history, name):
    return [item for item in history if item != name]


def log_share(file, history, item, everything):
    scores = dict(zip(*file.recommend(history, k=40, exclude_seen=False, allow=everything)[:2], strict=True))
    return scores[item] - np.logaddexp.reduce(list(scores.values()))


def test_only_what_is_large_enough_is_named(file):
    found = explain(file, file.recommend(k=40).items, ["i03", "i11"])
    assert {reason.because is None for reason in found} == {True, False}
    assert all((reason.because is None) == (reason.drop < serving.THRESHOLD) for reason in found)


def test_columns_of_events_are_left_out_with_their_events(artefact):
    file = Recommender(artefact("sasrec"))
    times = [NOW - 500, NOW - 400, NOW - 300]
    asked = {"context": {"history_timestamp": times, "timestamp": NOW}, "k": 3, "exclude_seen": True}
    plan = plan_leave_one_out(file, ["i05"], ["i06"], ["i01", "i02", "i01"], **asked)
    aligned = [question.columns["history_timestamp"] for question in plan.requests]
    assert aligned == [times, [NOW - 400], [NOW - 500, NOW - 300]]
    assert {question.exclude_seen for question in plan.requests} == {False}
    explain(file, ["i05"], ["i01", "i02", "i01"], **asked)


def test_what_is_unknown_or_rests_on_nothing_has_no_reason(file):
    assert explain(file, ["i05", "nothing"], []) == [("i05", None, 0.0), ("nothing", None, 0.0)]
    found = explain(file, ["nothing", "i05"], ["?", "", "ü"])
    assert [reason.because for reason in found] == [None, None]
    assert explain(file, [], ["i03"]) == []
    with pytest.raises(RequestError, match="is not a list of raw ids"):
        explain(file, ["i05"], "i03")
    with pytest.raises(TypeError):
        explain(file, ["i05"], ["i03"], contxt={})


def test_http_gives_the_reasons_of_python(artefact, file):
    history = ["i03", "i11", "i20"]
    items = file.recommend(history, k=8).items
    with TestClient(create_app(ModelFile(artefact("item_knn"), 1), ServerLimits(k=20, history=5, batch=2))) as client:
        answer = client.post("/explain", json={"items": [*items, 7], "history": history}).json()
        long = client.post("/explain", json={"items": ["i05"], "history": ["i03"] * 6})
        many = client.post("/explain", json={"items": ["i05"] * 21})
        odd = client.post("/explain", content=b'{"items": ["\\ud800"]}', headers={"Content-Type": "application/json"})
    assert [one["because"] for one in answer] == [one.because for one in explain(file, [*items, "7"], history)]
    assert any(one["because"] for one in answer)
    assert answer[-1]["drop"] == 0
    assert [found.status_code for found in (long, many, odd)] == [422] * 3
    assert "items has 21 entries; at most 20" in many.json()["detail"]


def test_a_key_is_asked_for(artefact):
    with TestClient(create_app(ModelFile(artefact("item_knn"), 1), ServerLimits(), "secret")) as client:
        assert client.post("/explain", json={"items": ["i05"]}).status_code == 401


def test_the_benchmark_compares_named_last_and_other_items(file):
    plan = plan_leave_one_out(file, file.recommend(k=40).items, [], ["i03", "i11", "i20"])
    drops = measured.compute_catalogue_drops(file, plan)
    assert len(drops) == file.describe()["n_items"]
    said = find_reasons(plan, file.answer(plan.requests))
    rows = measured.compare_drops(plan, said, drops)
    assert len(rows) == sum(reason.because is not None for reason in said) > 0
    named_ones = [reason for reason in said if reason.because]
    for (item, _, drop), (named, last, other, _) in zip(named_ones, rows, strict=True):
        assert named == pytest.approx(drop, abs=1e-5)
        assert last == drops[item][0]
        assert named >= max(last, other)
        assert named + 2 * other == pytest.approx(drops[item].sum(), abs=1e-5)


def test_drops_are_by_item_whatever_the_order_of_the_lists(file):
    first, second = file.answer([file.question(["i03"], k=40), file.question([], k=40)])
    backwards = second._replace(items=second.items[::-1], scores=second.scores[::-1])
    one, other = compute_drops([first, second]), compute_drops([first, backwards])
    assert all(np.array_equal(one[item], other[item]) for item in one)
