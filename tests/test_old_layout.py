"""Run folders, a registry and a sweep made by the code before the new layout still work, to the last digit."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from hydra.utils import get_object

from recsys.cli.main import main
from recsys.config.moved import current_target
from recsys.serving.recommender import Recommender

BEFORE = Path(__file__).parent / "fixtures" / "before_layout"
MODELS = ("ease", "sasrec", "two_tower")
COMMAND = json.loads((BEFORE / "trained/two_tower/environment.json").read_text())["command"]
WORDS = [word for word in COMMAND[1:] if not word.startswith(("model", "hydra.", "trainer.max_epochs="))]
SWEEP = [
    "sweep=two_tower", *WORDS, "trainer.max_epochs=2", "n_trials=3", "out=study", "model.dim=8", "model.hidden=[8]",
    "objectives=[ndcg@5]", "space.model.dim='choice(8,16)'", "space.model.hidden='choice([16],[8])'",
]  # fmt: skip
"""the words that the sweep began with, but for one trial more"""


@pytest.fixture
def before(tmp_path, monkeypatch):
    """A copy of the folder in which the old code ran its commands."""
    folder = tmp_path / "before"
    shutil.copytree(BEFORE, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def status_of(monkeypatch, *words):
    """The exit status of `recsys WORDS`."""
    monkeypatch.setattr(sys, "argv", ["recsys", *words])
    try:
        main()
    except SystemExit as end:
        return end.code or 0
    return 0


@pytest.mark.parametrize("target", (BEFORE / "targets.txt").read_text().split())
def test_every_old_path_of_a_class_leads_to_the_class(target):
    assert callable(get_object(current_target(target)))


def read_json(path):
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_an_old_run_is_evaluated_and_exported_with_the_same_figures(before, monkeypatch, model):
    run = before / "trained" / model
    expected = read_json(run / "metrics.json")
    assert status_of(monkeypatch, "evaluate", f"run=trained/{model}") == 0
    assert read_json(run / "evaluation.json") == expected
    assert status_of(monkeypatch, "export", f"run=trained/{model}", "precision=float32") == 0
    manifest = Recommender(run / "model.onnx").describe()
    test = {name: value for name, value in expected["test"].items() if name != "segments"}
    assert manifest["metrics"] == test
    assert manifest["split_hash"] == expected["split_hash"]
    check = manifest["precision"]
    assert check["overlap@10"] == 1
    assert check["file"]["ndcg@10"] == check["ndcg@10"]  # of the restored model, ranked like evaluation.json


@pytest.mark.slow
def test_an_old_registry_is_rolled_back_and_refreshed(before, monkeypatch):
    champion = before / "registry/champion"
    assert champion.readlink().name == "0002"
    assert status_of(monkeypatch, "rollback") == 0
    assert champion.readlink().name == "0001"
    assert status_of(monkeypatch, "refresh", "path=later.csv", "epochs=1") in (0, 3)
    assert (before / "registry/0003/model.onnx").exists()


@pytest.mark.slow
def test_an_old_sweep_goes_on_with_its_next_trial(before, monkeypatch):
    pytest.importorskip("optuna")
    old = [before / f"study/trial-{number:04}" for number in (0, 1)]
    files = {path: path.read_bytes() for folder in old for path in folder.iterdir()}
    lines = (before / "study/journal.log").read_text()
    assert status_of(monkeypatch, "sweep", *SWEEP) == 0
    assert (before / "study/trial-0002/validation.json").exists()
    assert not (before / "study/trial-0003").exists()
    assert (before / "study/journal.log").read_text().startswith(lines)
    kept = {path: path.read_bytes() for path in files if path.name in ("config.yaml", "model.pt", "validation.json")}
    assert kept == {path: files[path] for path in kept}
