"""The Recommender: forms of a request, errors with a remedy, many threads at once."""

import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from recsys.serving import recommender
from recsys.serving.recommender import Recommendation, Recommender, RequestError

NOW = 1_700_000_000


@pytest.fixture(scope="module")
def path(artefact):
    return artefact("two_tower")


@pytest.fixture(scope="module")
def file(path):
    return Recommender(path)


def test_one_history_gives_one_answer_and_many_give_as_many(file):
    one = file.recommend(["i03", "i05"], k=4, context={"timestamp": NOW})
    assert isinstance(one, Recommendation)
    assert len(one.items) == len(one.scores) == 4
    assert one.scores == sorted(one.scores, reverse=True)
    many = file.recommend([["i03", "i05"], [], ["i07"]], k=4, context=[{"timestamp": NOW}] * 3)
    assert many[0].items == one.items
    assert [answer.known for answer in many] == [2, 0, 1]
    np.testing.assert_allclose(many[0].scores, one.scores, rtol=1e-4)
    assert len(file.recommend([["i03"]])) == 1
    assert file.recommend().known == 0


def test_unknown_ids_are_left_out_and_reported(file):
    with_unknown = file.recommend(["i03", "?", "i05", "", "ü"], context={"timestamp": NOW})
    assert with_unknown.unknown == ["?", "ü"]
    assert with_unknown.known == 2
    assert with_unknown.items == file.recommend(["i03", "i05"], context={"timestamp": NOW}).items
    assert file.recommend(["i03"], deny=["?"], allow=["?", "i09"]).items == ["i09"]


def test_lists_obey_their_filters(file):
    default = file.describe()["exclude_seen"]
    assert default is False
    assert "i03" in file.recommend(["i03"], k=99).items
    assert "i03" not in file.recommend(["i03"], k=99, exclude_seen=True).items
    found = file.recommend([["i03"], ["i03"]], k=99, exclude_seen=[True, False], deny=[["i01"], None])
    assert [set(answer.items) >= {"i01"} for answer in found] == [False, True]
    assert ["i03" in answer.items for answer in found] == [False, True]
    assert set(file.recommend(["i03"], allow=["i01", "i02"]).items) == {"i01", "i02"}


def test_whole_numbers_and_arrays_are_taken_for_ids(file):
    assert file.recommend([3, np.int64(4)]).unknown == ["3", "4"]
    assert file.recommend(np.array(["i03", "i05"])).known == 2


def test_similar_leaves_out_the_item_itself(file):
    found = file.similar("i03", k=5)
    assert "i03" not in found.items
    assert len(found.items) == 5
    assert file.similar("nothing").unknown == ["nothing"]


def test_columns_change_the_answer_and_have_defaults(file):
    young, old = (file.recommend(["i03"], user={"age": age}, context={"timestamp": NOW}) for age in (20, 60.5))
    assert young.scores != old.scores
    missing = file.recommend(["i03"], user={"age": None}, context={"timestamp": NOW})
    assert missing.scores == file.recommend(["i03"], context={"timestamp": NOW}).scores
    fresh = {"timestamp": NOW, "history_timestamp": [NOW]}
    stale = {"timestamp": NOW, "history_timestamp": [NOW - 10**7]}
    assert file.recommend(["i03"], context=fresh).scores != file.recommend(["i03"], context=stale).scores
    assert file.recommend(["i03"], context=fresh) == file.recommend(["i03"], context={"timestamp": NOW})


WRONG = [
    ({"history": "i03"}, "history='i03' is not a list of raw ids"),
    ({"history": {"i03"}}, "is not a list of raw ids"),
    ({"history": ["i03", None]}, "history holds None, a NoneType"),
    ({"history": ["i03", 1.5]}, "history holds 1.5, a float"),
    ({"history": [True]}, "history holds True, a bool"),
    ({"history": [b"i03"]}, "history holds b'i03', a bytes"),
    ({"history": ["i03", ["i05"]]}, "a list; raw ids are text"),
    ({"history": [[["i03"]]]}, "a list; raw ids are text"),
    ({"history": ["\ud800"]}, "is not valid Unicode"),
    ({"k": 0}, "k=0 is invalid: expected a whole number ≥ 1"),
    ({"k": 2.5}, "k=2.5"),
    ({"k": True}, "k=True"),
    ({"exclude_seen": "yes"}, "exclude_seen='yes'"),
    ({"history": [["i03"], ["i05"]], "exclude_seen": [True]}, "a list of 2"),
    ({"allow": []}, "allow is empty"),
    ({"allow": "i03"}, "allow='i03' is not a list of raw ids"),
    ({"deny": [None]}, "deny holds None"),
    ({"history": [["i03"], ["i05"]], "deny": ["i01"]}, "deny must be a list of 2"),
    ({"history": [["i03"], ["i05"]], "context": {"timestamp": NOW}}, "context must be a list of 2"),
    ({"user": "u01"}, "holds no user ids"),
    ({"user": {"agee": 3}}, "'agee' is not an input of the file; it takes: age, "),
    ({"context": {"weather": "rain"}}, "'weather' is not an input"),
    ({"context": 5}, "context=5 is not a mapping"),
    ({"user": {"age": "old"}}, "age holds 'old', a str; give a number"),
    ({"context": {"timestamp": "today"}}, "timestamp holds 'today'"),
    ({"context": {"timestamp": float("nan")}}, "timestamp holds nan"),
    ({"history": ["i03"], "context": {"history_timestamp": [1, 2]}}, "as long as the history (1)"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_question_says_what_is_wrong(question, message, file):
    with pytest.raises(RequestError) as raised:
        file.recommend(**question)
    assert message in str(raised.value)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(RequestError, match="there is no file"):
        Recommender(tmp_path / "nothing.onnx")


def test_a_long_history_is_answered(file):
    assert file.recommend(["i03", "x"] * 50_000).known == 50_000


def test_200_mixed_requests_give_the_same_answers_concurrently_as_alone(file):
    rng = np.random.default_rng(0)
    ids = [f"i{n:02}" for n in range(33)]
    questions = [
        {
            "history": rng.choice(ids, rng.integers(0, 30)).tolist(),
            "k": int(rng.integers(1, 12)),
            "exclude_seen": bool(rng.integers(2)),
            "deny": rng.choice(ids, rng.integers(0, 4)).tolist(),
            "allow": rng.choice(ids, 5).tolist() if rng.random() < 0.3 else None,
            "context": {"timestamp": NOW},
        }
        for _ in range(200)
    ]
    alone = [file.recommend(**question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda question: file.recommend(**question), questions))
    assert together == alone


def test_the_description_is_a_copy(file):
    file.describe()["n_items"] = 0
    assert file.describe()["n_items"] > 0
    assert file.describe()["inputs"]["k"]["default"] == 10


def test_the_golden_request_guards_against_another_runtime(path):
    file = Recommender(path)
    file.self_test()
    file._manifest["golden"]["answer"]["items"] = ["i00"]
    with pytest.raises(RuntimeError, match="golden request"):
        file.self_test()


@pytest.mark.slow
def test_onnxruntime_and_numpy_alone_serve_the_file(artefact, tmp_path):
    """In a new environment: with the module copied next to the file, and with the script of the docs without it."""
    path = shutil.copy(artefact("sasrec"), tmp_path / "model.onnx")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy", "onnxruntime"], check=True)
    shutil.copy(recommender.__file__, tmp_path)
    code = "from recommender import Recommender; print(Recommender('model.onnx').similar('i03').items[0])"
    found = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == Recommender(path).similar("i03").items[0]
    plain = subprocess.run([python, "-c", plain_script()], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert plain.returncode == 0, plain.stderr


def plain_script():
    text = (Path(__file__).parents[2] / "docs/export.md").read_text()
    found = next(part for part in text.split("```python\n")[1:] if "import onnxruntime" in part).split("```")[0]
    return found.replace("runs/sasrec/", "")


def test_serving_loads_nothing_of_ours_and_neither_torch_nor_pandas(path):
    heavy = "('torch', 'pandas', 'scipy', 'onnx', 'hydra', 'pyarrow')"
    code = (
        "import sys; from recsys.serving.recommender import Recommender; "
        f"Recommender({str(path)!r}).recommend(['i03']); "
        f"print(*[m for m in sys.modules if m in {heavy} or m.startswith('recsys.') and 'serving' not in m])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
