"""Customers without consent get the list of a newcomer, in the same call of the model."""

import json
import shutil

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from recsys.config.build import build
from recsys.config.settings import check_settings
from recsys.errors import ConfigError
from recsys.serving.app import create_app
from recsys.serving.erasure_marks import digest_file, locate_marks
from recsys.serving.middleware.consent import Consent
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender, RequestError
from recsys.serving.schemas import ServerLimits
from tests.composed import composed

NOW = {"timestamp": 1_700_000_000}
ROWS = {"user": ["ada", "bob", "7", "cleo", "cleo"], "personalise": ["yes", "no", "True", "1", "0"]}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "said.csv"
    pd.DataFrame(ROWS).to_csv(path, index=False)
    return path


def client_of(path, part):
    return TestClient(create_app(ModelFile(path, 1), ServerLimits(), middleware=[part]), raise_server_exceptions=False)


def modes(client, *questions):
    return [answer["about"]["mode"] == "personalised" for answer in client.post("/recommend", json=questions).json()]


def test_without_consent_the_person_is_dropped_and_the_context_kept(artefact, table):
    path = artefact("two_tower")
    file, history = Recommender(path), ["i03", "i05", "i11"]
    own = {"history": history, "user": {"age": 30.0}, "context": NOW | {"history_timestamp": [1, 2, 3]}, "k": 40}
    with client_of(path, Consent(str(table))) as client:
        yes, no = client.post("/recommend", json=[own | {"customer": name} for name in ("ada", "bob")]).json()
    assert yes["about"] == {"mode": "personalised"}
    assert no["about"] == {"mode": "non_personalised"}
    assert yes["items"] == file.recommend(**own).items
    assert no["items"] == file.recommend(context=NOW, k=40).items != yes["items"]
    assert (no["known"], no["unknown"]) == (0, [])


def test_who_is_asked_for(artefact, table):
    with client_of(artefact("two_tower"), Consent(str(table))) as client:
        asked = [{"customer": name} for name in ("ada", 7, "cleo", "nobody")]
        assert modes(client, *asked, {}, {"history": ["i03"]}) == [True, True, False, False, False, False]
    with client_of(artefact("two_tower"), Consent(str(table), unknown=True)) as client:
        assert modes(client, {"customer": "nobody"}, {}, {"customer": "bob"}) == [True, True, False]
    users = artefact("ncf", users=True)
    with client_of(users, Consent(str(table))) as client:
        assert modes(client, {"user": "ada"}, {"user": {"id": "bob"}}, {"user": "bob", "customer": "ada"}) == [
            True,
            False,
            False,
        ]


def test_columns_of_the_person_do_not_pass_as_context(artefact, table):
    path = artefact("two_tower")
    with client_of(path, Consent(str(table))) as client:
        plain, hidden = client.post(
            "/recommend", json=[{"context": NOW, "k": 40}, {"context": NOW | {"age": 99.0}, "k": 40}]
        ).json()
    assert plain["scores"] == hidden["scores"]


def test_an_item_needs_no_consent(artefact, table):
    path = artefact("two_tower")
    with client_of(path, Consent(str(table))) as client:
        answer = client.post("/similar", json={"item": "i03", "k": 5}).json()
    assert answer["items"] == Recommender(path).similar("i03", 5).items
    assert answer["known"] == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_changed_table_counts_at_once_and_a_broken_one_is_a_no(artefact, tmp_path, suffix, caplog):
    path = tmp_path / f"said.{suffix}"

    def write(says):
        frame = pd.DataFrame({"who": ["ada"], "ok": [says]})
        new = tmp_path / "new"
        {"csv": lambda: frame.to_csv(new, index=False), "parquet": lambda: frame.to_parquet(new),
         "jsonl": lambda: frame.to_json(new, orient="records", lines=True)}[suffix]()  # fmt: skip
        new.replace(path)

    write(True)
    with client_of(artefact("two_tower"), Consent(str(path), "who", "ok", unknown=True)) as client:
        assert modes(client, {"customer": "ada"}) == [True]
        write(False)
        assert modes(client, {"customer": "ada"}, {}) == [False, True]
        path.write_bytes(b"\xff\xfe")
        assert modes(client, {"customer": "ada"}, {}) == [False, False]
        write(True)
        assert modes(client, {"customer": "ada"}, {}) == [True, True]
        path.unlink()
        assert modes(client, {"customer": "ada"}) == [False]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "nobody is personalised"
    ] * 2


def test_a_table_that_says_nothing_is_refused_at_the_start(tmp_path, table):
    with pytest.raises(ConfigError, match="cannot be read"):
        Consent(str(tmp_path / "missing.csv"))
    with pytest.raises(ConfigError, match="has no column 'analyse'"):
        Consent(str(table), purpose="analyse")


def test_a_version_that_holds_an_erased_id_is_refused_and_others_are_not(artefact, tmp_path):
    path = shutil.copy(artefact("two_tower"), tmp_path / "model.onnx")
    locate_marks(path).write_text(json.dumps({"learned": [digest_file(path)]}))
    with client_of(path, lambda requests, call_next: call_next(requests)) as client:
        locate_marks(path).write_text(json.dumps({"refused": [digest_file(path)]}))
        answer = client.post("/reload")
        assert (answer.status_code, "was erased" in answer.json()["detail"]) == (409, True)
    with pytest.raises(RequestError, match="was erased"):
        ModelFile(path, 1)
    shutil.copy(artefact("sasrec"), path)
    assert ModelFile(path, 1).recommender.describe()["model"] == "sasrec"


def test_the_server_takes_it_as_a_part(table):
    config = composed("artefact=FILE", "consent=table", f"parts.consent.table={table}", name="serve")
    check_settings(config)
    part = build(config.parts.consent)
    assert (part.purpose, part.unknown, part.keep) == ("personalise", False, {"timestamp"})
