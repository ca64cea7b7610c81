"""Sessions on the server: one click changes the next list; without the store, all else works as before."""

import asyncio
import shutil
import signal
import subprocess
import time

import pytest
from fastapi.testclient import TestClient
from omegaconf import OmegaConf

from recsys.config.build import build
from recsys.config.settings import check_settings
from recsys.errors import ConfigError
from recsys.serving.app import create_app
from recsys.serving.middleware.session_stores import MemoryStore
from recsys.serving.middleware.sessions import in_memory, in_redis
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender
from recsys.serving.schemas import ServerLimits
from tests.composed import composed
from tests.serving.test_serve import free_port

NOW = 1_700_000_000


class RedisServer:
    """`with RedisServer() as redis`: a process that can be killed, paused, and started again."""

    def __init__(self):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(["redis-server", *words], stdout=subprocess.PIPE, text=True)
        assert any("Ready to accept connections" in line for line in self.process.stdout)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def redis():
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server: apt-get install redis-server")
    with RedisServer() as redis:
        yield redis


@pytest.fixture(params=["memory", "redis"])
def part(request):
    """Middleware with room for five events per session."""
    if request.param == "memory":
        return in_memory(events=5)
    return in_redis(request.getfixturevalue("redis").url, events=5, timeout=30)


def client_of(path, part, **limits):
    return TestClient(
        create_app(ModelFile(path, 1), ServerLimits(**limits), middleware=[part]), raise_server_exceptions=False
    )


@pytest.fixture
def client(artefact, part):
    with client_of(artefact("sasrec"), part) as client:
        client.delete("/events/ada")
        yield client


def ask(client, customer="ada", **asked):
    return client.post("/recommend", json={"customer": customer, "context": {"timestamp": NOW}, **asked}).json()


def add(client, *items, customer="ada", **columns):
    return client.post("/events", json={"customer": customer, "events": [{"item": item, **columns} for item in items]})


def test_one_click_changes_the_next_list_as_if_it_had_been_sent(client, artefact):
    before = ask(client, history=["i01"])
    assert before["about"]["session"] == 0
    assert add(client, "i07", timestamp=NOW - 60).json() == {"events": 1}
    after = ask(client, history=["i01"])
    assert after["about"]["session"] == 1
    assert after["scores"] != before["scores"]
    context = {"timestamp": NOW, "history_timestamp": [None, NOW - 60]}
    alone = Recommender(artefact("sasrec")).recommend(["i01", "i07"], context=context)
    assert (after["items"], after["known"]) == (alone.items, 2)
    assert after["scores"] == pytest.approx(alone.scores, rel=1e-4)


def test_columns_of_the_question_stay_with_its_own_history(client, artefact):
    add(client, "i07", timestamp=NOW - 60)
    asked = {"history": ["i01", "i02"], "context": {"timestamp": NOW, "history_timestamp": [NOW - 900, NOW - 800]}}
    found = ask(client, **asked)
    context = {"timestamp": NOW, "history_timestamp": [NOW - 900, NOW - 800, NOW - 60]}
    alone = Recommender(artefact("sasrec")).recommend(["i01", "i02", "i07"], context=context)
    assert found["scores"] == pytest.approx(alone.scores, rel=1e-4)
    asked["context"]["history_timestamp"] = [NOW]
    assert "history_timestamp must be a list" in ask(client, **asked)["detail"]


def test_a_session_is_one_customers_and_keeps_the_newest(client):
    add(client, *(f"i{n:02}" for n in range(8)))
    assert ask(client)["about"] == {"session": 5}
    assert ask(client, customer="bob")["about"] == {"session": 0}
    assert "about" in (alone := client.post("/recommend", json={}).json()) and alone["about"] == {}
    questions = [{"customer": "bob"}, {}, {"customer": "ada"}, {"customer": "ada", "history": ["i09"]}]
    many = client.post("/recommend", json=questions).json()
    assert [answer["about"].get("session") for answer in many] == [0, None, 5, 5]
    assert [answer["known"] for answer in many] == [0, 0, 5, 6]


def test_a_session_is_forgotten_on_request(client):
    add(client, "i07")
    assert client.delete("/events/ada").json() == {"events": 0}
    assert ask(client)["about"]["session"] == 0
    assert client.delete("/events/nobody").status_code == 200


def test_any_name_is_a_customer(client):
    for name in ("ü/ 🛒\n", 7):
        assert add(client, "i03", customer=name).status_code == 200
        assert ask(client, customer=name)["about"]["session"] >= 1
    odd = b'{"customer": "\\ud800", "events": [{"item": "i03"}]}'
    assert client.post("/events", content=odd, headers={"Content-Type": "application/json"}).status_code < 500


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"customer": "ada", "events": []}, "body.events"),
        ({"events": [{"item": "i03"}]}, "body.customer"),
        ({"customer": "ada", "events": [{"item": None}]}, "body.events.0.item"),
        ({"customer": "ada", "events": [{"item": "i03", "colour": "red"}]}, "'colour' is not a column of events"),
        ({"customer": "ada", "events": [{"item": "i03", "timestamp": "noon"}]}, "timestamp"),
        ({"customer": "ada", "events": [{"item": "i" * 2000}]}, "at most 1,000 are allowed"),
        ({"customer": "a" * 2000, "events": [{"item": "i03"}]}, "customer has 2,000 characters"),
    ],
)
def test_refusals_say_why(body, reason, artefact):
    with client_of(artefact("sasrec"), in_memory()) as client:
        answer = client.post("/events", json=body)
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


@pytest.mark.slow
def test_types_of_events_are_kept_where_the_file_reads_them(mixed, tmp_path):
    from tests.runtimes import planted_file

    path = planted_file(tmp_path, "sasrec", mixed)
    with client_of(path, in_memory()) as client:
        add(client, "i03", event="view", timestamp=NOW)
        assert "history_event holds 5" in add(client, "i03", event=5.5).json()["detail"]
        found = ask(client)
    context = {"timestamp": NOW, "history_timestamp": [NOW], "history_event": ["view"]}
    assert found["scores"] == pytest.approx(Recommender(path).recommend(["i03"], context=context).scores, rel=1e-4)


def test_memory_is_bounded_in_sessions_and_in_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    store = MemoryStore(events=3, seconds=60, sessions=2)

    async def live():
        for name in ("a", "b", "a", "c"):
            await store.append(name, [name])
        assert await store.read(["a", "b", "c"]) == [["a", "a"], [], ["c"]]
        clock[0] = 61
        assert await store.read(["a", "b", "c"]) == [[], [], []]
        await store.append("d", ["d"])
        assert list(store._sessions) == ["d"]

    asyncio.run(live())


def test_redis_forgets_in_time(redis, artefact):
    with client_of(artefact("sasrec"), in_redis(redis.url, seconds=1, timeout=30)) as client:
        add(client, "i07", customer="brief")
        until(lambda: ask(client, customer="brief")["about"]["session"] == 0)


def until(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("never")


def test_redis_killed_and_started_again_in_mid_session(artefact, redis):
    with RedisServer() as own, client_of(artefact("sasrec"), in_redis(own.url, timeout=30, pause=0.05)) as client:
        add(client, "i07")
        with_session = ask(client, history=["i01"])
        own.kill()
        for _ in range(3):
            answer = ask(client, history=["i01"])
            assert answer["about"]["session"] == "unavailable"
            assert answer["known"] == 1
        refused = add(client, "i08")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert "sessions are unavailable" in refused.json()["detail"]
        assert client.delete("/events/ada").status_code == 503
        assert client.post("/recommend", json={}).json()["about"] == {}
        own.start()
        until(lambda: add(client, "i07", timestamp=NOW).status_code == 200)
        assert ask(client, history=["i01"])["about"]["session"] == 1
        assert with_session["about"]["session"] == 1


def test_a_redis_that_hangs_is_waited_for_once(artefact, redis):
    with RedisServer() as own, client_of(artefact("sasrec"), in_redis(own.url, timeout=2, pause=60)) as client:
        assert add(client, "i07").status_code == 200
        own.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            answers = [ask(client) for _ in range(20)]
            spent = time.monotonic() - start
        finally:
            own.process.send_signal(signal.SIGCONT)
    assert [answer["about"]["session"] for answer in answers] == ["unavailable"] * 20
    assert spent < 20 * 2, "only the first of them waited"


def test_what_is_no_address_of_a_redis_is_said_in_a_line():
    with pytest.raises(ConfigError, match="url is not a Redis address"):
        in_redis("localhost:6379")


@pytest.mark.parametrize("name", ["memory", "redis"])
def test_the_server_takes_either_by_its_settings(name):
    config = composed("artefact=model.onnx", f"sessions={name}", name="serve")
    check_settings(config)
    assert list(config.parts) == ["sessions"]
    assert build(OmegaConf.create(OmegaConf.to_container(config.parts.sessions, resolve=True))).router.routes
