"""The assistant in the HTTP server: the client carries the state, and requests pass through the server's middleware."""

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from omegaconf import OmegaConf
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from recsys.apps.assistant.dialogue import SOFTWARE
from recsys.config.build import build
from recsys.config.settings import config_dir
from recsys.errors import ConfigError
from recsys.serving.app import create_app
from recsys.serving.model_file import ModelFile
from recsys.serving.schemas import ServerLimits
from tests.planted_shop import calls, catalogue_file, fake_model, says


class RecordRequests:
    """Middleware that keeps the requests."""

    def __init__(self):
        self.requests = []

    async def __call__(self, requests, call_next):
        self.requests += requests
        return await call_next(requests)


@pytest.fixture
def served(artefact, tmp_path):
    def serve(**given):
        config = OmegaConf.load(config_dir() / "assistant/search.yaml")
        config = OmegaConf.merge(
            config, {"catalogue": str(catalogue_file(tmp_path)), "columns": {"stock": "left"}}, given
        )
        recorder = RecordRequests()
        app = create_app(ModelFile(artefact("item_knn"), 1), ServerLimits(), middleware=[recorder, build(config)])
        return TestClient(app), recorder

    return serve


def test_it_says_what_it_is(served):
    client, _ = served()
    assert client.get("/ask").json()["software"] == SOFTWARE
    assert "cheaper" in client.get("/ask").json()["examples"]


def test_the_client_carries_the_state_and_nothing_is_kept(served):
    client, _ = served()
    first = client.post("/ask", json={"text": "jacket", "history": ["i01"], "k": 3}).json()
    assert set(first) == {"say", "items", "state", "software"}
    assert set(first["items"][0]) == {"item", "title", "score", "because", "columns"}
    second = client.post("/ask", json={"text": "cheaper", "state": first["state"]}).json()
    third = client.post("/ask", json={"text": "cheaper", "state": first["state"]}).json()
    assert second == third
    assert all(one["columns"]["price"] < second["state"]["wishes"]["high"] for one in second["items"])
    assert "cannot say" in client.post("/ask", json={"text": "cheaper"}).json()["say"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": "x" * 1001},
        {"text": "x", "k": 0},
        {"text": "x", "k": 51},
        {"text": "x", "state": {"shown": "i00"}},
        {"text": "x", "state": {"wishes": {"high": "a"}}},
        {"text": "x", "state": {"more": 1}},
        {"text": "under 5", "state": {"wishes": {"only": {"colours": "red"}}}},
        {"text": "x", "user": "u1"},
        {"text": "why i06"},
    ],
)
def test_what_is_malformed_is_422_with_a_reason(served, body):
    answer = served()[0].post("/ask", json=body)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str)


def test_a_state_with_items_of_elsewhere_does_no_harm(served):
    client, _ = served()
    state = {"like": "nothing", "shown": ["nothing"], "before": ["nothing"]}
    for text in ("under 15", "more", "why", "cheaper", "compare the first two", "more like the first"):
        assert client.post("/ask", json={"text": text, "state": state}).status_code == 200


def test_the_model_is_asked_through_the_servers_parts(served):
    client, recorder = served()
    client.post("/ask", json={"text": "for me", "history": ["i01", "i02"], "customer": "u07"})
    assert [(one.customer, one.history) for one in recorder.requests] == [("u07", ["i01", "i02"])]


def test_where_a_proxy_says_who_asks_nobody_else_does(served):
    client, recorder = served(customer_header="X-Customer")
    said = {"text": "for me"}
    assert client.post("/ask", json=said, headers={"X-Customer": "u07"}).status_code == 200
    assert recorder.requests[-1].customer == "u07"
    assert client.post("/ask", json=said | {"customer": "u11"}, headers={"X-Customer": "u07"}).status_code == 403
    assert client.post("/ask", json=said | {"customer": "u11"}).status_code == 403


def test_titles_of_items(served):
    found = served()[0].post("/catalogue", json={"items": ["i00", "nothing"]}).json()
    assert found == {"items": {"i00": {"title": "Bordo Jacket", "price": 10.0, "category": "jacket", "colour": "red",
                                       "age": "child", "in_stock": True}}}  # fmt: skip


def test_a_language_model_answers_where_one_is_set(served):
    with fake_model(calls(("recommend", "{}")), says("Look at these.")) as model:
        client, _ = served(base_url=model.url, model="fake")
        found = client.post("/ask", json={"text": "what now", "history": ["i01"]}).json()
    assert found["say"] == "Look at these."
    assert len(found["items"]) == 5
    assert found["software"] == client.get("/ask").json()["software"] != SOFTWARE


def test_a_catalogue_that_is_not_there_ends_in_a_line(served):
    with pytest.raises(ConfigError, match=r"there is no file 'nothing\.parquet'"):
        served(catalogue="nothing.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_whatever_anybody_sends_is_answered_as_the_schema_says(mode, served):
    app = served()[0].app
    for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        if found.ok().path not in ("/ask", "/catalogue") or not found.ok().body:
            continue

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(found.ok().as_strategy(generation_mode=mode))
        def check(case):
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        check()
