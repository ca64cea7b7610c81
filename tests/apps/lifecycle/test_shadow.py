"""Shadow mode: answers stay what they are, and both lists are logged without a word of who asked."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from recsys.apps.lifecycle.shadow import Shadow
from recsys.serving.app import create_app
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender
from recsys.serving.schemas import ServerLimits

NOW = {"timestamp": 1_700_000_000}


class Greedy:
    """A part around the shadow that changes lists after they were answered."""

    async def __call__(self, asked, then):
        answers = await then(asked)
        for answer in answers:
            answer.items.clear()
        return answers


def lines_of(path, n):
    """The lines once there are n of them."""
    for _ in range(300):
        if path.exists() and len(lines := path.read_text().splitlines()) >= n:
            return [json.loads(line) for line in lines]
        time.sleep(0.02)
    pytest.fail(f"{n} lines did not come")


def test_answers_stay_and_both_lists_are_logged(artefact, tmp_path):
    path = tmp_path / "shadow.jsonl"
    shadow = Shadow(str(artefact("two_tower")), str(path))
    app = create_app(ModelFile(artefact("sasrec"), 1), ServerLimits(), middleware=[Greedy(), shadow])
    asked = {"history": ["i03", "i07"], "k": 5, "customer": "ada", "context": NOW, "deny": ["i01"]}
    with TestClient(app) as client:
        answer = client.post("/recommend", json=[asked, {"k": 3, "context": NOW}]).json()
        found = lines_of(path, 2)
    assert [one["items"] for one in answer] == [[], []]
    served, other = (Recommender(artefact(name)) for name in ("sasrec", "two_tower"))
    expected = [file.recommend(["i03", "i07"], k=5, context=NOW, deny=["i01"]).items for file in (served, other)]
    assert [found[0]["served"], found[0]["shadow"]] == expected
    assert found[0]["overlap"] == len(set(expected[0]) & set(expected[1])) / 5
    assert set(found[0]) == {"time", "served", "shadow", "overlap"}
    assert "ada" not in path.read_text()


def test_a_question_that_the_shadow_cannot_be_asked_is_said(artefact, tmp_path):
    path = tmp_path / "shadow.jsonl"
    app = create_app(
        ModelFile(artefact("two_tower"), 1), ServerLimits(), middleware=[Shadow(str(artefact("sasrec")), str(path))]
    )
    with TestClient(app) as client:
        answer = client.post("/recommend", json={"user": {"age": 30.0}, "context": NOW, "k": 2})
        found = lines_of(path, 1)
    assert answer.status_code == 200
    assert "'age' is not an input" in found[0]["error"]


def test_a_shadow_that_fails_harms_nobody(artefact, tmp_path, caplog):
    shadow = Shadow(str(artefact("sasrec")), str(tmp_path / "missing" / "shadow.jsonl"))
    with TestClient(create_app(ModelFile(artefact("sasrec"), 1), ServerLimits(), middleware=[shadow])) as client:
        for _ in range(3):
            assert client.post("/recommend", json={"context": NOW}).status_code == 200
        for _ in range(300):
            if "shadow failed" in caplog.messages:
                break
            time.sleep(0.02)
    assert "shadow failed" in caplog.messages


def test_shadowing_never_imports_torch():
    code = "import sys, recsys.apps.lifecycle.shadow; sys.exit(bool({'torch', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0
