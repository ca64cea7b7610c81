"""A run: same seed, same bits; cut and resumed, same bits; planted structure found."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from recsys.config.settings import config_dir
from recsys.errors import ConfigError
from recsys.run import Run, atomic
from recsys.serving.recommender import Recommender
from tests.faults import said
from tests.planted import planted_log

pytestmark = pytest.mark.xdist_group("training")  # one process trains what they share
SCRIPTS = config_dir().parent / "scripts"


@pytest.fixture(scope="module")
def log_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "events.csv"
    planted_log().to_csv(path, index=False)
    return path


def words(log_file, folder, *more):
    return [
        sys.executable, "-W", "ignore", str(SCRIPTS / "train.py"), "data=csv", f"data.path={log_file}",
        f"data.folder={log_file.parent}/prepared", "trainer.max_epochs=4", "threads=1", "ks=[5,10]",
        "model.dim=16", "batches.batch_size=32", "export=false", f"hydra.run.dir={folder}", *more,
    ]  # fmt: skip


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


@pytest.fixture(scope="module")
def finished(log_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    more = ["model=sasrec", "trainer.max_epochs=12", "baselines.item_knn.half_life=null", "export=true"]
    found = run(words(log_file, folder, *more))
    assert found.returncode == 0, found.stderr
    return folder, found.stdout


def test_a_run_leaves_what_is_promised(finished):
    folder, _ = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {"test", "validation", "baselines", "split_hash", "n_users", "n_items"}
    assert {"ndcg@10", "hr@10", "warm/ndcg@10", "coverage@10"} <= set(metrics["test"])
    assert set(metrics["baselines"]) == {
        "popularity",
        "recent_popularity",
        "personal_frequency",
        "item_knn",
        "ease",
    }
    said = Recommender(folder / "model.onnx").describe()
    assert said["split_hash"] == metrics["split_hash"]
    assert said["metrics"]["ndcg@10"] == metrics["test"]["ndcg@10"] == pytest.approx(said["precision"]["ndcg@10"])
    timing = json.loads((folder / "timing.json").read_text())
    assert {"tokens_per_s", "cpu_s_train", "epochs", "peak_rss_mb", "cpu_s_first_step"} <= set(timing)
    assert (folder / "environment.json").exists()
    assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 11


def test_sasrec_finds_the_planted_order_and_the_table_says_so(finished):
    folder, text = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"]["hr@5"] > 0.6
    assert metrics["test"]["hr@5"] > 1.5 * metrics["baselines"]["popularity"]["test"]["hr@5"]
    assert "sasrec beats the best baseline" in text


def test_evaluate_gives_the_same_figures(finished):
    folder, _ = finished
    found = run([sys.executable, "-W", "ignore", str(SCRIPTS / "evaluate.py"), f"run={folder}"], cwd=folder)
    assert found.returncode == 0, found.stderr
    assert json.loads((folder / "evaluation.json").read_text()) == json.loads((folder / "metrics.json").read_text())


def test_a_folder_with_a_run_is_not_overwritten(finished, log_file):
    found = run(words(log_file, finished[0]))
    assert found.returncode == 1
    assert "already holds a run" in found.stderr


@pytest.mark.parametrize("model", [pytest.param("two_tower", marks=pytest.mark.slow), "sasrec"])
def test_killed_and_resumed_equals_uninterrupted_and_the_seed_decides(log_file, tmp_path, model):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    chosen = [f"model={model}", "ema=0.9"]
    assert run(words(log_file, whole, *chosen)).returncode == 0
    process = subprocess.Popen(words(log_file, cut, *chosen), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (cut / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (cut / "metrics.json").exists(), "killed too late"
    resumed = run([sys.executable, "-W", "ignore", str(SCRIPTS / "train.py"), f"resume={cut}"], cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert (cut / "metrics.json").read_text() == (whole / "metrics.json").read_text()
    first, second = (torch.load(folder / "model.pt", weights_only=True) for folder in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_trained_anew_on_what_came_before_the_test(log_file, tmp_path):
    folder = tmp_path / "run"
    command = words(log_file, folder, "model=sasrec", "refit=true", "ema=0.9", "trainer.max_epochs=12")
    found = run(command)
    assert found.returncode == 0, found.stderr
    metrics = (folder / "metrics.json").read_text()
    best = json.loads((folder / "training.json").read_text())
    assert json.loads(metrics)["validation"]["ndcg@10"] == pytest.approx(best["best"])  # by whom it has not taught
    assert torch.load(folder / "refit/last.ckpt", weights_only=True)["epoch"] == best["epoch"]
    chosen, anew = (torch.load(folder / f"{name}.pt", weights_only=True) for name in ("validated", "model"))
    assert any(not torch.equal(chosen[name], anew[name]) for name in chosen)
    (folder / "model.pt").unlink()  # killed just before the end
    again = run([sys.executable, "-W", "ignore", str(SCRIPTS / "train.py"), f"resume={folder}"], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (folder / "metrics.json").read_text() == metrics


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sasrec", "two_tower", "ncf"])
def test_bfloat16_learns_the_planted_order(log_file, tmp_path, model):
    more = ["trainer.precision=bf16-mixed", "trainer.max_epochs=10", "optimizer.lr=0.01", "baselines=none"]
    found = run(words(log_file, tmp_path / "run", f"model={model}", *more))
    assert found.returncode == 0, found.stderr
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["test"]["hr@10"] > 0.6


def test_resume_takes_no_other_setting(finished):
    found = run([sys.executable, str(SCRIPTS / "train.py"), f"resume={finished[0]}", "seed=2"])
    assert found.returncode == 1
    assert "leave out seed=2" in found.stderr


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.columns.user=customer", "column 'customer' is missing"),
        ("data.path=nowhere.csv", "does not exist"),
        ("+model.droput=1", "unknown setting 'model.droput'"),
        ("ks=[5,1000]", "k=1000 is larger than the catalogue"),
        ("model=ncf model.user_id=false model.history=false", "nothing distinguishes users; set one to true"),
        ("model=sasrec model.dim=15", "dim=15 is invalid: expected a multiple of n_heads=2"),
        ("model=sasrec model.time_bias=true data.columns.timestamp=null", "needs times"),
    ],
)
def test_wrong_input_is_one_line_and_status_1(log_file, tmp_path, word, message):
    text, code = said([*words(log_file, tmp_path / "run", *word.split())[4:]])
    assert code == 1
    assert message in text.splitlines()[-1]


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a run folder"):
        Run.open(tmp_path)
