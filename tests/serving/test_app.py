"""The HTTP application: the same lists as the Recommender, alone or in batches, and a reason for every rejection."""

import asyncio
import json
import logging
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from recsys.serving.app import create_app
from recsys.serving.batching import Batcher, QueueFullError
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender, check_allow
from recsys.serving.schemas import ServerLimits
from recsys.serving.telemetry import JsonFormatter
from recsys.serving.web_page import add_web_page

NOW = {"timestamp": 1_700_000_000}


@pytest.fixture
def path(artefact, tmp_path):
    return shutil.copy(artefact("sasrec"), tmp_path / "model.onnx")


def client_of(path, runtime=None, **settings):
    limits = ServerLimits(**settings.pop("limits", {}))
    app = create_app(ModelFile(path, 1), limits, **settings)
    add_web_page(app, runtime or path.parent)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client(path):
    with client_of(path) as client:
        yield client


def random_request(rng, items):
    return {
        "history": rng.choice([*items, "nothing"], int(rng.integers(0, 30))).tolist(),
        "k": int(rng.integers(1, 12)),
        "exclude_seen": bool(rng.integers(2)),
        "deny": rng.choice(items, int(rng.integers(0, 5))).tolist(),
        "allow": [None, items[:9], items[5:25]][int(rng.integers(3))],
        "context": NOW,
    }


def requests(n, items):
    rng = np.random.default_rng(0)
    return [random_request(rng, items) for _ in range(n)]


def test_answers_are_those_of_the_recommender(client, path):
    file = Recommender(path)
    items = file.recommend(k=40).items
    for request in requests(20, items):
        answer = client.post("/recommend", json=request).json()
        found = file.recommend(**request)
        assert answer["items"] == found.items
        assert answer["known"] == found.known
        assert answer["unknown"] == found.unknown
        assert answer["scores"] == pytest.approx(found.scores, rel=1e-5)


class Bans:
    """Middleware that leaves out an item and reports it."""

    def __init__(self, item):
        self.item = item

    async def __call__(self, requests, call_next):
        responses = await call_next(
            [request.model_copy(update={"deny": [*(request.deny or ()), self.item]}) for request in requests]
        )
        for response in responses:
            response.about["banned"] = [*response.about.get("banned", ()), self.item]
        return responses


def test_middleware_changes_requests_and_responses_outermost_first(path):
    with client_of(path, middleware=[Bans("i03"), Bans("i04")]) as client:
        answer = client.post("/recommend", json={"k": 40, "customer": "ada"}).json()
        again = client.post("/recommend", json={"k": 40}).json()
    assert not {"i03", "i04"} & set(answer["items"])
    assert answer["about"] == again["about"] == {"banned": ["i04", "i03"]}


def test_a_list_of_questions_gets_a_list_of_answers(client):
    answers = client.post("/recommend", json=[{"history": ["i03"], "k": 2}, {}]).json()
    assert [len(answer["items"]) for answer in answers] == [2, 10]
    assert [answer["known"] for answer in answers] == [1, 0]


def test_similar_and_items(client, path):
    file = Recommender(path)
    assert client.post("/similar", json={"item": "i03", "k": 3}).json()["items"] == file.similar("i03", 3).items
    assert client.get("/items", params={"limit": 5}).json()["items"] == file.recommend(k=5).items


def test_a_file_and_its_health_describe_themselves(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/describe").json()["model"] == "sasrec"
    assert "/recommend" in client.get("/openapi.json").json()["paths"]
    assert client.get("/docs").status_code == 200


def test_concurrent_answers_are_those_given_alone(path):
    file = Recommender(path)
    wanted = requests(200, file.recommend(k=40).items)
    sizes = []
    batcher = Batcher(16, 200, sizes.append)

    async def ask(request):
        allow = check_allow(request["allow"])
        question = file.question(**{name: value for name, value in request.items() if name != "allow"})
        return (await batcher.answer(file, [(question, allow)]))[0]

    async def ask_all():
        return await asyncio.gather(*map(ask, wanted))

    for request, found in zip(wanted, asyncio.run(ask_all()), strict=True):
        alone = file.recommend(**request)
        assert found.items == alone.items
        assert found.scores == pytest.approx(alone.scores, rel=1e-4, abs=1e-6)
    assert sum(sizes) == 200
    assert 16 >= max(sizes) > 1
    assert len(sizes) < 100


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"history": [None]}, "body.history.0: Input should be a valid string"),
        ({"history": [["i03"]]}, "body.history.0"),
        ({"history": [1.5]}, "body.history.0"),
        ({"history": "i03"}, "body.history: Input should be a valid list"),
        ({"history": ["i03"] * 21}, "history has 21 entries; at most 20 are allowed"),
        ({"history": [], "k": 0}, "body.k"),
        ({"history": [], "k": "5"}, "body.k"),
        ({"k": 31}, "k=31 is too large: at most 30"),
        ({"deny": ["i03"] * 11}, "deny has 11 entries; at most 10"),
        ({"allow": []}, "allow is empty"),
        ({"histroy": []}, "body.histroy: Extra inputs"),
        ({"context": {"wether": "rain"}}, "'wether' is not an input of the file"),
        ({"context": {"timestamp": "noon"}}, "timestamp holds 'noon'"),
        ({"user": 7}, "the file holds no user ids"),
        ([], "the body has 0 requests"),
        ([{}] * 5, "the body has 5 requests; send 1 to 4"),
        ([{}, {"k": -1}], "body.1.k"),
        (7, "body: Input should be"),
        (None, "body: "),
    ],
)
def test_refusals_say_why(body, reason, path):
    with client_of(path, limits={"history": 20, "k": 30, "ids": 10, "questions": 4}) as client:
        answer = client.post("/recommend", json=body)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"history": ["\\ud800"]}', b'{"k": 1' + b"0" * 5000 + b"}", b'{"k": NaN}', b"[" * 9000],
)
def test_fuzz_is_refused(body, client):
    answer = client.post("/recommend", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]


def test_any_text_is_an_id(client):
    history = ["🛒", "\0", "ü" * 1000, "", " i03", "i03"]
    answer = client.post("/recommend", json={"history": history, "context": NOW}).json()
    assert answer["unknown"] == ["🛒", "\0", "ü" * 1000, " i03"]
    assert answer["known"] == 1


def test_a_large_body_is_refused_before_it_is_read(path):
    with client_of(path, limits={"body": 1000}) as client:
        body = json.dumps({"history": ["i03"] * 1000}).encode()
        assert client.post("/recommend", content=body).status_code == 413
        assert client.post("/recommend", content=iter([body])).status_code == 413  # a size that is not announced
        assert client.post("/recommend", json={"history": ["i03"]}).status_code == 200


def test_a_key_is_asked_for(path):
    with client_of(path, api_key="secret") as client:
        for method, where in (("POST", "/recommend"), ("POST", "/similar"), ("POST", "/reload"), ("GET", "/describe"),
                              ("GET", "/items"), ("GET", "/model.onnx")):  # fmt: skip
            assert client.request(method, where, json={"item": "i03"}).status_code == 401
            assert client.request(method, where, headers={"X-API-Key": "sécret".encode()}).status_code == 401
        assert client.post("/recommend", json={}, headers={"X-API-Key": "secret"}).status_code == 200
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 200


def test_too_many_questions_are_told_to_come_back(path):
    with client_of(path, limits={"waiting": 3}) as client:
        answer = client.post("/recommend", json=[{}] * 4)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"


def test_a_question_that_fails_leaves_the_others_and_the_queue(path):
    file = Recommender(path)
    batcher = Batcher(4, 10)
    good = file.question(["i03"])
    bad = good._replace(columns={})

    async def ask():
        first = await asyncio.gather(batcher.answer(file, [(bad, [])]), return_exceptions=True)
        return first[0], await batcher.answer(file, [(good, [])])

    failed, found = asyncio.run(ask())
    assert isinstance(failed, KeyError)
    assert found[0].known == 1


def test_a_full_queue_takes_nothing_of_a_request(path):
    file = Recommender(path)
    batcher = Batcher(4, 3)
    question = file.question(["i03"]), []

    async def ask():
        return await asyncio.gather(*(batcher.answer(file, [question] * 2) for _ in range(2)), return_exceptions=True)

    first, second = asyncio.run(ask())
    assert len(first) == 2
    assert isinstance(second, QueueFullError)


def test_another_file_takes_over(path, artefact, client):
    swap(artefact("two_tower"), path)
    assert client.get("/describe").json()["model"] == "sasrec"
    assert client.post("/reload").json() == {"status": "reloaded"}
    assert client.get("/describe").json()["model"] == "two_tower"
    assert "recsys_reloads_total 1.0" in client.get("/metrics").text


def test_a_broken_file_changes_nothing(path, client):
    (path.parent / "broken").write_bytes(b"no model")
    swap(path.parent / "broken", path)
    answer = client.post("/reload")
    assert answer.status_code == 409
    assert "the current file stays in use" in answer.json()["detail"]
    assert client.post("/recommend", json={}).status_code == 200


def test_no_request_fails_while_files_are_swapped(path, artefact):
    with client_of(path, watch=0.02) as client:
        stop, seen, failed = threading.Event(), set(), []

        def load():
            while not stop.is_set():
                answer = client.post("/recommend", json={"history": ["i03", "i05"], "context": NOW})
                if answer.status_code != 200:
                    failed.append(answer.text)
                seen.add(round(answer.json()["scores"][0], 3))

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(10):
            swap(artefact(["two_tower", "sasrec"][turn % 2]), path)
            stop.wait(0.15)
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert len(seen) >= 2


def test_metrics_count_requests_batches_and_newcomers(client):
    client.post("/recommend", json={"history": ["i03", "nothing"]})
    client.post("/recommend", json={})
    client.get("/nowhere/at/all")
    text = client.get("/metrics").text
    assert 'recsys_requests_total{path="/recommend",status="200"} 2.0' in text
    assert 'recsys_requests_total{path="other",status="404"} 1.0' in text
    assert "recsys_newcomers_total 1.0" in text
    assert "recsys_unknown_items_total 1.0" in text
    assert "recsys_batch_questions_count 2.0" in text


def test_logs_are_json_without_ids(client, caplog):
    caplog.set_level(logging.INFO, "recsys.serving.telemetry")
    client.post("/recommend", json={"history": ["i03", "very-private"]}, headers={"X-API-Key": "private"})
    lines = [
        json.loads(JsonFormatter().format(record)) for record in caplog.records if record.name.startswith("recsys")
    ]
    assert lines[0]["path"] == "/recommend"
    assert lines[0]["status"] == 200
    assert "private" not in json.dumps(lines)
    assert "i03" not in json.dumps(lines)


def swap(new, path):
    """Replace the file at a path atomically."""
    Path(shutil.copy(new, path.parent / "next")).replace(path)


def test_a_file_with_user_ids_stays_on_the_server(artefact):
    with client_of(artefact("ncf", users=True)) as client:
        answer = client.get("/model.onnx")
        assert client.post("/recommend", json={"user": "u03"}).status_code == 200
    assert answer.status_code == 403
    assert "users=false" in answer.json()["detail"]


def test_a_file_with_user_ids_that_has_just_taken_over_stays_too(artefact, client, path):
    swap(artefact("ncf", users=True), path)
    assert client.get("/model.onnx").status_code == 403
    assert "recsys_reloads_total 1.0" in client.get("/metrics").text


def test_files_of_the_page_and_of_no_other_folder(client, path):
    (path.parent / "ort.mjs").write_text("export {}")
    assert client.get("/runtime/ort.mjs").status_code == 200
    for name in ("/runtime/nothing", "/page/..%2Fapp.py", "/runtime/..%2F..%2Fetc%2Fpasswd", "/page/nothing"):
        assert client.get(name).status_code == 404
    assert "npm install" in client.get("/runtime/nothing").json()["detail"]
    assert client.get("/model.onnx").content == path.read_bytes()
    assert "default-src 'self'" in client.get("/").headers["Content-Security-Policy"]


def test_a_browser_that_has_a_file_is_not_sent_it_again(client):
    for name in ("/", "/page/page.css", "/model.onnx"):
        first = client.get(name)
        again = client.get(name, headers={"If-None-Match": first.headers["ETag"]})
        assert (first.status_code, again.status_code) == (200, 304)
