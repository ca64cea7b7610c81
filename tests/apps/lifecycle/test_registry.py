"""Whatever happens, a registry has a whole champion and knows the way back."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from recsys.apps.benchmark import http
from recsys.apps.lifecycle.registry import Registry, find_training_end
from recsys.errors import ConfigError
from recsys.run import Run
from recsys.serving.model_file import ModelFile
from tests.planted import planted_log

ROOT = Path(__file__).parents[3]
FILES = ("config.yaml", "model.pt", "model.onnx", "model-1.tables", "metrics.json")


def run_of(folder, text="a"):
    """A run folder whose files hold a text."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_text(text)
    return Run(folder)


@pytest.fixture
def shelf(dataset, tmp_path):
    """Versions 0001, which serves, and 0002."""
    found = Registry(tmp_path / "registry")
    for text in "ab":
        with found.lock() as work:
            name = found.add(run_of(tmp_path / text, text), dataset, {}, work)
    found.switch_champion("0001", "register")
    assert name == "0002"
    return found


def champion_text(shelf):
    return {(shelf.folder / "champion" / name).read_text() for name in FILES}


def test_a_version_is_whole_and_has_its_own_vocabulary(shelf, dataset):
    assert champion_text(shelf) == {"a"}
    assert sorted(path.name for path in shelf.folder.iterdir() if path.name[0] != ".") == [
        "0001", "0002", "champion", "history.jsonl",
    ]  # fmt: skip
    vocabulary = shelf.open_champion().folder / "vocabulary"
    assert json.loads((vocabulary / "metadata.json").read_text())["n_items"] == dataset.n_items
    assert (shelf.folder / "0001" / "model-1.tables").read_text() == "a"
    assert "made" in json.loads((shelf.folder / "0002" / "version.json").read_text())


def test_rollbacks_follow_promotions_and_not_each_other(shelf, dataset, tmp_path):
    with shelf.lock() as work:
        shelf.add(run_of(tmp_path / "c", "c"), dataset, {}, work)
    shelf.switch_champion("0002", "refresh")
    shelf.switch_champion("0003", "refresh")
    for wanted in ("0002", "0001"):
        shelf.switch_champion(shelf.find_predecessor(), "rollback")
        assert shelf.read_link("champion") == wanted
    with pytest.raises(ConfigError, match=r"champion 0001 .* has no predecessor"):
        shelf.find_predecessor()
    assert [line["to"] for line in shelf.read_history()] == ["0001", "0002", "0003", "0002", "0001"]


def test_an_unfinished_run_is_refused(shelf, dataset, tmp_path):
    run = run_of(tmp_path / "half")
    (run.folder / "model.onnx").unlink()
    with shelf.lock() as work, pytest.raises(ConfigError, match=r"has no model.onnx; finish it: recsys export"):
        shelf.add(run, dataset, {}, work)
    with pytest.raises(ConfigError, match="has no champion; recsys register"):
        Registry(tmp_path / "empty").open_champion()


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("stale", {"why": "it learned from somebody"}, "is stale: it learned from somebody; train again"),
        ("data", {"split_hash": "another"}, "was trained on other data than its settings now give"),
    ],
)
def test_a_run_that_may_not_or_cannot_go_on_is_refused(shelf, dataset, tmp_path, file, content, why):
    run = run_of(tmp_path / "c", "c")
    run.write_json(file, content)
    with shelf.lock() as work, pytest.raises(ConfigError, match=why):
        shelf.add(run, dataset, {}, work)
    assert not (shelf.folder / "0003").exists()


def test_only_one_command_at_a_time(shelf):
    with (
        shelf.lock(),
        pytest.raises(ConfigError, match="another command is changing"),
        Registry(shelf.folder).lock(),
    ):
        pass
    with shelf.lock() as work:
        assert work.exists()
    assert not work.exists()


class Killed(BaseException):
    """What no `except Exception` stops."""


def dying(monkeypatch, steps):
    """Every change of the file system but the first `steps` kills whoever makes it."""
    left = [steps]

    def once(original):
        def call(*arguments, **named):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return original(*arguments, **named)

        return call

    for name in ("replace", "rename", "symlink_to", "write_text", "mkdir"):
        monkeypatch.setattr(Path, name, once(getattr(Path, name)))


@pytest.mark.parametrize("steps", range(10))
def test_a_promotion_that_dies_leaves_one_of_the_two(shelf, dataset, tmp_path, monkeypatch, steps):
    run = run_of(tmp_path / "c", "c")
    with monkeypatch.context() as patched:
        dying(patched, steps)
        try:
            with shelf.lock() as work:
                shelf.switch_champion(shelf.add(run, dataset, {}, work), "refresh")
        except Killed:
            pass
    assert champion_text(shelf) in ({"a"}, {"c"})
    if champion_text(shelf) == {"c"}:
        assert shelf.find_predecessor() == "0001"
    with shelf.lock() as work:  # the next one finds nothing in its way
        name = shelf.add(run, dataset, {}, work)
    shelf.switch_champion(name, "refresh")
    assert champion_text(shelf) == {"c"}
    assert shelf.find_predecessor() in ("0001", "0003")


SWITCHING = """
import sys
from recsys.apps.lifecycle.registry import Registry
shelf = Registry(sys.argv[1])
print("ready", flush=True)
while True:
    for name in ("0002", "0001"):
        shelf.switch_champion(name, "refresh")
"""


@pytest.mark.slow
def test_kill_9_during_promotions_leaves_a_whole_champion(shelf):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    seen = set()
    for seed in range(8):
        words = [sys.executable, "-c", SWITCHING, str(shelf.folder)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.Random(seed).random() / 5)
            process.send_signal(signal.SIGKILL)
        seen |= champion_text(shelf)
        assert champion_text(shelf) in ({"a"}, {"b"})
        assert shelf.find_predecessor() in ("0001", "0002")
    assert len(shelf.read_history()) > 8
    assert seen


def test_what_is_known_until_when(dataset):
    log = planted_log().sort_values(["user", "timestamp"])
    training = log.groupby("user")["timestamp"].agg(lambda times: times.iloc[-3])
    assert find_training_end(dataset) == training.max() + 1


def test_a_served_path_follows_the_link(shelf, artefact):
    for name, model in (("0001", "sasrec"), ("0002", "two_tower")):
        (shelf.folder / name / "model.onnx").write_bytes(artefact(model).read_bytes())
    served = ModelFile(shelf.folder / "champion" / "model.onnx", 1)
    assert served.recommender.describe()["model"] == "sasrec"
    assert not served.has_changed()
    shelf.switch_champion("0002", "refresh")
    assert served.has_changed()


def switched_under_load(shelf, seconds=15, connections=4):
    """What clients saw while champions changed, and how often the server took over another file."""
    found = {"reloads": 0}
    with http.run_server(shelf.folder / "champion" / "model.onnx") as (port, _):
        asked = [["POST", "/recommend", {"history": [], "k": 3}]]
        clients = threading.Thread(target=lambda: found.update(http.run_load_client(port, connections, seconds, asked)))
        clients.start()
        end = time.monotonic() + seconds - 1
        while time.monotonic() < end:
            shelf.switch_champion(("0002", "0001")[found["reloads"] % 2], "refresh")
            while time.monotonic() < end and reloads(port) == found["reloads"]:
                time.sleep(0.2)
            found["reloads"] = reloads(port)
        clients.join()
    return found


def reloads(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("recsys_reloads_total"))))


@pytest.mark.slow
def test_a_server_under_load_fails_no_request_while_champions_change(shelf, artefact):
    for name, model in (("0001", "sasrec"), ("0002", "two_tower")):
        (shelf.folder / name / "model.onnx").write_bytes(artefact(model).read_bytes())
    found = switched_under_load(shelf)
    assert found["failed"] == 0
    assert found["per_second"] > 1
    assert found["reloads"] >= 2
