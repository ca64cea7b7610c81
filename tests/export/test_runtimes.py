"""The same answers from Python, Node.js and Chromium; skipped with a reason where one of them is missing."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from recsys.data.features import Features
from recsys.data.preparation.splits import GlobalTime
from recsys.data.schema import Columns
from recsys.data.sources.files import FrameSource
from recsys.serving.recommender import Recommender
from tests.planted import planted_baskets, planted_items, planted_users, prepared
from tests.runtimes import INSTALL, NOW, ROOT, Serving, planted_file, random_questions

pytestmark = pytest.mark.slow

ON_DEVICE = """
const [questions, done] = arguments;
import(location.origin + "/page/device.mjs")
  .then(({ openDevice }) => openDevice())
  .then((engine) => Promise.all(questions.map((question) => engine.recommend(question))))
  .then(done, (error) => done(String(error)));
"""


@pytest.fixture(scope="module")
def node():
    """Asks docs/node/recommend.mjs."""
    if not (shutil.which("node") and (ROOT / "node_modules/onnxruntime-node").is_dir()):
        pytest.skip(f"needs node and `{INSTALL}`")

    def ask(path, questions):
        lines = "\n".join(map(json.dumps, questions))
        command = ["node", ROOT / "docs/node/recommend.mjs", path]
        found = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        return [json.loads(line) for line in found.stdout.splitlines()]

    return ask


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """A shop whose users have an age and several tags each."""
    users = planted_users()
    users["tags"] = [[f"t{user % 3}", f"t{user % 2}"] for user in range(len(users))]
    return prepared(
        tmp_path_factory.mktemp("tagged"),
        FrameSource(planted_baskets(), planted_items(), users),
        GlobalTime(),
        columns=Columns(basket="basket"),
        features=Features(user=["age", "tags"], item=["aisle"], context=["hour"]),
        exclude_seen=False,
    )


MODELS = [("two_tower", "tagged"), ("sasrec", "mixed"), ("item_knn", "dataset")]


@pytest.mark.parametrize(("name", "data"), MODELS)
def test_python_node_and_chromium_agree_on_100_random_histories(name, data, browser, node, request, tmp_path):
    path = planted_file(tmp_path, name, request.getfixturevalue(data))
    python = Recommender(path)
    questions = random_questions(python.describe(), python.recommend(k=99).items)
    wanted = [python.recommend(**question) for question in questions]
    assert sum(len(answer.items) for answer in wanted) > 300
    assert any(answer.unknown for answer in wanted)
    with Serving(path) as served:
        browser.get(served.url)
        chromium = browser.execute_async_script(ON_DEVICE, questions)
    assert isinstance(chromium, list), chromium
    for found in (chromium, node(path, questions)):
        for one, other in zip(found, wanted, strict=True):
            assert {**one, "scores": None} == {**other._asdict(), "scores": None}
            np.testing.assert_allclose(one["scores"], other.scores, rtol=1e-4, atol=1e-4)


def test_node_fills_in_defaults_and_may_open_a_file_with_users(node, shop, tmp_path):
    path = planted_file(tmp_path, "two_tower", shop, "model.user_id=true", users=True)
    wanted = Recommender(path).recommend(["i03"], user="u03", context={"timestamp": NOW})
    (found,) = node(path, [{"history": ["i03"], "user": "u03", "context": {"timestamp": NOW}}])
    assert found["items"] == wanted.items
    assert len(node(path, [["i03", "i05"]])[0]["items"]) == 10
