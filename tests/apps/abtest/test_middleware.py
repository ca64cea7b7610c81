"""A/B tests in a server: which file answers, what is logged, and that the loop does not wait for the log."""

import asyncio
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from recsys.apps.abtest import exposure_log, middleware
from recsys.apps.abtest.assignment import assign_variant, log_unit_id
from recsys.apps.abtest.middleware import Exposures, Interleaved, Variants
from recsys.config.build import build
from recsys.errors import ConfigError
from recsys.serving.app import create_app
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender
from recsys.serving.schemas import RecommendRequest, RecommendResponse, ServerLimits
from tests.composed import composed

HALVES = {"control": 0.5, "treatment": 0.5}
CUSTOMERS = [f"c{n}" for n in range(12)]


@pytest.fixture(scope="module")
def files(artefact, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return [shutil.copy(artefact(name), folder / f"{name}.onnx") for name in ("popularity", "item_knn")]


def served(words, files, log_path):
    """A client of the app that `recsys serve WORDS` runs."""
    paths = [word.format(other=files[1], log=log_path) for word in words]
    config = composed(f"artefact={files[0]}", *paths, name="serve")
    parts = [build(node) for node in config.parts.values()]
    return TestClient(create_app(ModelFile(Path(files[0]), 1), ServerLimits(), middleware=parts))


def ask(client, *customers):
    asked = [{"customer": each, "history": ["i03", "i05"], "k": 6} for each in customers]
    answer = client.post("/recommend", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_customers_get_the_file_of_their_variant_and_the_log_says_so(files, tmp_path):
    path = tmp_path / "shown.jsonl"
    words = ["exposures=jsonl", "exposures.path={log}", "abtest=variants", "abtest.name=spring"]
    words = [word.replace("exposures.", "parts.exposures.").replace("abtest.", "parts.abtest.") for word in words]
    with served([*words, "parts.abtest.files={{treatment: '{other}'}}"], files, path) as client:
        answers = ask(client, *CUSTOMERS, None)
        again = ask(client, *CUSTOMERS)
    lists = [Recommender(file).recommend(["i03", "i05"], k=6).items for file in files]
    assert lists[0] != lists[1]
    for customer, answer in zip(CUSTOMERS, answers, strict=False):
        variant = assign_variant("spring", customer, HALVES)
        assert answer["about"] == {"test": "spring", "variant": variant}
        assert answer["items"] == lists[variant == "treatment"]
    assert answers[-1]["items"] == lists[0]
    assert answers[-1]["about"] == {}
    assert again == answers[:-1]
    records = list(exposure_log.read_exposures(path))
    assert [record["unit"] for record in records] == [*CUSTOMERS, None, *CUSTOMERS]
    assert [record["items"] for record in records[:13]] == [answer["items"] for answer in answers]
    assert exposure_log.read_variants_by_unit(path, "spring") == {
        each: {assign_variant("spring", each, HALVES)} for each in CUSTOMERS
    }


def test_a_log_with_a_key_has_no_customer(files, tmp_path):
    path = tmp_path / "shown.jsonl"
    with served(["exposures=jsonl", "parts.exposures.path={log}", "parts.exposures.key=k"], files, path) as client:
        ask(client, "ada")
    assert "ada" not in path.read_text()
    assert next(exposure_log.read_exposures(path))["unit"] == log_unit_id("ada", "k")


def test_interleaved_lists_say_whose_item_each_is(files, tmp_path):
    path = tmp_path / "shown.jsonl"
    words = ["abtest=interleaved", "parts.abtest.name=t", "parts.abtest.file={other}"]
    with served(["exposures=jsonl", "parts.exposures.path={log}", *words], files, path) as client:
        answers = ask(client, *CUSTOMERS)
    lists = [Recommender(file).recommend(["i03", "i05"], k=6).items for file in files]
    for answer in answers:
        teams = [answer["about"]["teams"][item] for item in answer["items"]]
        assert len(set(answer["items"])) == 6
        for n, (item, team) in enumerate(zip(answer["items"], teams, strict=True)):
            own = lists[team == "treatment"]
            assert item == next(best for best in own if best not in answer["items"][:n])
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
    rows = list(exposure_log.read_shown_items(path))
    assert len(rows) == 72
    assert {row["team"] for row in rows} == {"control", "treatment"}
    assert rows[0]["variant"] == "interleaved"


class Reverses:
    """Middleware between the test and the log that moves items and adds one."""

    async def __call__(self, asked, then):
        answers = await then(asked)
        for answer in answers:
            answer.items.reverse()
            answer.items.append("advert")
            answer.about["propensities"] = dict.fromkeys(answer.items, 0.5)
        return answers


def test_what_is_logged_is_what_left(files, tmp_path):
    path = tmp_path / "shown.jsonl"
    parts = [Exposures(str(path), None), Reverses(), Interleaved("t", str(files[1]), str(files[0]), {})]
    with TestClient(create_app(ModelFile(Path(files[0]), 1), ServerLimits(), middleware=parts)) as client:
        (answer,) = ask(client, "ada")
    rows = list(exposure_log.read_shown_items(path))
    assert [row["item"] for row in rows] == answer["items"]
    assert [row["team"] for row in rows] == [*(answer["about"]["teams"][item] for item in answer["items"][:-1]), None]
    assert [row["chance"] for row in rows] == [0.5] * 7


async def nothing(asked):
    return [RecommendResponse(items=["x"], scores=[1.0], known=0, unknown=[]) for _ in asked]


def test_the_loop_goes_on_while_the_log_is_written(tmp_path, monkeypatch):
    written = threading.Event()
    monkeypatch.setattr(
        middleware, "append_exposures", lambda *_: written.wait(30) or pytest.fail("the loop stood still")
    )
    logs = Exposures(str(tmp_path / "log"), None)

    async def both():
        answer = asyncio.create_task(logs([RecommendRequest(customer=1)], nothing))
        await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        assert not answer.done()  # the answer leaves once its exposure is in the log
        written.set()
        return await answer

    assert asyncio.run(both())[0].items == ["x"]


def test_a_log_that_cannot_be_written_costs_no_answer(tmp_path, caplog):
    logs = Exposures(str(tmp_path / "log"), None)
    (tmp_path / "log").mkdir()
    assert asyncio.run(logs([RecommendRequest()], nothing))[0].items == ["x"]
    assert "exposures not logged" in caplog.text


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"files": {}}, r"files={} is invalid: expected one file for each of \['treatment'\]"),
        ({"files": {"treatment": "nothing.onnx"}}, "there is no file 'nothing.onnx'"),
        ({"shares": [0.7, 0.7]}, "add up to 1"),
    ],
)
def test_tests_that_cannot_be_are_refused_at_the_start(settings, reason, files):
    given = {"name": "t", "files": {"treatment": str(files[1])}, "control": str(files[0]), "limits": {}, **settings}
    with pytest.raises(ConfigError, match=reason):
        Variants(**given)


def test_files_of_unequal_inputs_are_no_test(files, monkeypatch):
    inputs = {**Recommender(files[1]).describe()["inputs"], "weather": {}}
    monkeypatch.setattr(middleware, "Recommender", lambda _: SimpleNamespace(describe=lambda: {"inputs": inputs}))
    with pytest.raises(ConfigError, match=r"lacks the inputs \['weather'\]"):
        Interleaved("t", str(files[1]), str(files[0]), {})


def test_a_log_needs_its_folder(tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        Exposures(str(tmp_path / "nowhere" / "log"), None)


def test_the_server_loads_neither_torch_nor_pandas_nor_hydra_for_a_test():
    heavy = "{'torch', 'pandas', 'scipy', 'tea_tasting', 'hydra', 'omegaconf'}"
    modules = ", ".join(
        f"recsys.apps.abtest.{name}" for name in ("middleware", "exposure_log", "assignment", "interleaving")
    )
    code = f"import sys, {modules}; print(*{heavy} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
