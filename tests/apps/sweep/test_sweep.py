"""Sweeps: the default first, the best as a file, and nothing lost or repeated, whoever is killed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from recsys.config.settings import config_dir
from recsys.errors import ConfigError
from recsys.evaluation.leaderboard import comparable_settings, compare_runs
from recsys.run import Run
from tests.planted import planted_log

optuna = pytest.importorskip("optuna")

from optuna.trial import TrialState  # noqa: E402
from sqlalchemy.pool import NullPool  # noqa: E402

from recsys.apps.sweep import sweep  # noqa: E402
from recsys.apps.sweep.locks import FileLock  # noqa: E402
from recsys.apps.sweep.study import LOCKS  # noqa: E402

pytestmark = pytest.mark.xdist_group("sweep")  # one process makes what they share

KNN = ["sweep=item_knn", "n_trials=4"]
TOWER = [
    "sweep=two_tower", "~space", "model.dim=4", "model.hidden=[8]", "batches.batch_size=64", "trainer.max_epochs=3",
    "logger=none",
]  # fmt: skip
DIM_AND_RATE = '+space={model: {dim: "choice(4,8)"}, optimizer: {lr: "tag(log, interval(0.00001, 0.1))"}}'
SCRIPT = str(config_dir().parent / "scripts" / "sweep.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Words that name a planted log."""
    path = tmp_path_factory.mktemp("log") / "events.csv"
    planted_log().to_csv(path, index=False)
    return ["data=csv", f"data.path={path}", f"data.folder={path.parent}/data", "threads=1", "baselines=none"]


def swept(out, *words):
    """The lines of a sweep and its trials."""
    every = [f"out={out}", *words]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("sweep", every)
        lines = list(sweep.run_sweep(config, every))
    return "\n".join(lines), trials(out, config.storage)


def trials(out, storage=None):
    if storage is None:
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(
                f"{out}/journal.log", lock_obj=FileLock(Path(out) / LOCKS / "journal")
            )
        )
    elif isinstance(storage, str):
        storage = optuna.storages.RDBStorage(storage, engine_kwargs={"poolclass": NullPool})
    return optuna.load_study(study_name=str(out), storage=storage).trials


def outcome(found):
    return [(trial.number, trial.state, trial.params, trial.values, trial.intermediate_values) for trial in found]


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweeps") / "knn"
    return out, *swept(out, *data, *KNN)


def test_the_default_comes_first_and_the_best_is_tested_once(finished, data):
    out, text, found = finished
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 4
    assert found[0].params == {"model.neighbours": 100, "model.shrinkage": 10.0, "model.half_life": 1.0}
    best = max(found, key=lambda trial: trial.value)
    assert f"trial {best.number}: ndcg@10" in text
    assert "settings without a sweep, trial 0: ndcg@10" in text
    assert text.count("test: csv") == 1
    assert [path.parent.name for path in out.rglob("metrics.json")] == [f"trial-{best.number:04}"]
    again, _ = swept(out, *data, *KNN)
    assert "test: csv" not in again
    assert "was used before" in again


def test_its_trials_are_in_the_leaderboard_with_intervals(finished):
    out, _, found = finished
    rows = pd.read_csv(out / "leaderboard.csv").set_index("run")
    assert rows.loc["trial-0002", "validation"] == pytest.approx(found[2].value)
    assert (rows["validation_low"] < rows["validation"]).all()
    assert "model.neighbours=100" in "\n".join(compare_runs(str(out), "ndcg@10", None))


def test_the_best_is_an_experiment_of_overrides_alone(finished):
    out, _, found = finished
    best = max(found, key=lambda trial: trial.value)
    text = (out / "experiment" / "best.yaml").read_text()
    assert "override /model: item_knn" in text
    assert "_target_" not in text
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", ["experiment=best", f"hydra.searchpath=[file://{out}]"])
    of_trial = Run.open(out / f"trial-{best.number:04}").config
    resolved = {name: value for name, value in comparable_settings(config).items() if "${" not in str(value)}
    assert resolved.items() <= comparable_settings(of_trial).items()


def test_pictures_are_drawn(finished):
    names = {path.stem for path in finished[0].glob("*.png")}
    assert names == {"history", "importances", "parallel_coordinates"}


def test_what_a_dead_worker_left_is_finished_under_its_number(data, tmp_path, monkeypatch):
    whole = outcome(swept(tmp_path / "whole", *data, *KNN)[1])

    def die(trial, *_):
        if trial.number == 2:
            raise KeyboardInterrupt
        return train(trial, *_)

    train = sweep.train_trial
    monkeypatch.setattr("recsys.apps.sweep.sweep.train_trial", die)
    with pytest.raises(SystemExit) as ended:
        swept(tmp_path / "cut", *data, *KNN)
    assert ended.value.code == 130
    assert [trial.state for trial in trials(tmp_path / "cut")][2:] == [TrialState.RUNNING]
    monkeypatch.undo()
    text, found = swept(tmp_path / "cut", *data, *KNN)
    assert outcome(found) == whole
    assert text.count("test: csv") == 1


@pytest.mark.slow
def test_a_trial_that_a_living_worker_trains_is_left_alone(data, tmp_path, monkeypatch):
    monkeypatch.setattr("recsys.apps.sweep.sweep.train_trial", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit):
        swept(tmp_path, *data, *KNN)
    monkeypatch.undo()
    other = FileLock(tmp_path / LOCKS / "trial-0000")
    assert other.acquire(wait=False)
    text, found = swept(tmp_path, *data, *KNN)
    assert [trial.state for trial in found] == [TrialState.RUNNING] + [TrialState.COMPLETE] * 3
    assert "unfinished trials: 1" in text
    other.release()
    assert swept(tmp_path, *data, *KNN)[1][0].state == TrialState.COMPLETE


@pytest.mark.slow
def test_a_trial_that_kills_its_worker_is_given_up(data, tmp_path, monkeypatch):
    train = sweep.train_trial

    def die(trial, *_):
        if trial.number == 1:
            raise KeyboardInterrupt
        return train(trial, *_)

    monkeypatch.setattr("recsys.apps.sweep.sweep.train_trial", die)
    for _ in range(3):
        with pytest.raises(SystemExit):
            swept(tmp_path, *data, *KNN)
    _, found = swept(tmp_path, *data, *KNN)
    assert [trial.state.name for trial in found] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert "is the memory enough" in found[1].user_attrs["error"]


@pytest.mark.slow
def test_failures_of_single_trials_survive(data, tmp_path):
    words = [
        *TOWER,
        '+space={optimizer: {lr: "choice(0.001,-1)"}}',
        "trainer.max_epochs=1",
        "n_trials=5",
        "sampler=random",
    ]
    _, found = swept(tmp_path, *data, *words)
    states = Counter(trial.state for trial in found)
    assert set(states) == {TrialState.COMPLETE, TrialState.FAIL}
    failed = next(trial for trial in found if trial.state == TrialState.FAIL)
    assert failed.user_attrs["error"] == "ConfigError: Invalid learning rate: -1"


def test_nothing_but_failures_stops_with_the_reason(data, tmp_path):
    why = "the first 3 trials failed, the last with ConfigError: Invalid learning rate"
    with pytest.raises(ConfigError, match=why):
        swept(tmp_path, *data, *TOWER, '+space={seed: "choice(1,2)"}', "optimizer.lr=-1")


def test_bad_trials_are_pruned_and_good_ones_are_not(data, tmp_path):
    words = [*TOWER, DIM_AND_RATE, "optimizer.lr=0.03", "trainer.max_epochs=6", "n_trials=8", "sampler=random",
             "pruner.n_startup_trials=2", "pruner.n_warmup_steps=1"]  # fmt: skip
    text, found = swept(tmp_path, *data, *words)
    states = Counter(trial.state for trial in found)
    assert states[TrialState.PRUNED] > 0
    assert states[TrialState.COMPLETE] > 1
    assert all(len(trial.intermediate_values) < 6 for trial in found if trial.state == TrialState.PRUNED)
    best = max((trial for trial in found if trial.value), key=lambda trial: trial.value)
    assert best.state == TrialState.COMPLETE
    assert f"{states[TrialState.PRUNED]} trials pruned" in text


@pytest.mark.slow
def test_several_objectives_end_in_compromises(data, tmp_path):
    words = [DIM_AND_RATE, "objectives=[ndcg@10,n_parameters]", "n_trials=5", "trainer.max_epochs=2", "sampler=random"]
    text, found = swept(tmp_path, *data, *TOWER, *words)
    cheap, dear = (min(t.values[1] for t in found if t.params["model.dim"] == dim) for dim in ("4", "8"))
    assert cheap < dear
    assert "the test set is not used" in text
    assert (tmp_path / "compromises.png").exists()
    names = {path.stem for path in (tmp_path / "experiment").glob("*.yaml")}
    front = [t for t in found if not any(o.values[0] > t.values[0] and o.values[1] < t.values[1] for o in found)]
    assert names <= {f"trial_{trial.number}" for trial in front}
    assert names


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_storage_may_be_a_database(finished, data, tmp_path, request, kind):
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_server").replace("postgresql:", "postgresql+psycopg:")
    _, found = swept(tmp_path / "knn", *data, *KNN, f"storage='{url}'")
    assert [trial.params for trial in found] == [trial.params for trial in finished[2]]
    assert "sesame" not in "".join(path.read_text() for path in (tmp_path / "knn").rglob("*.yaml"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["seed=2"], "has a sweep with other settings .seed was 1 and is 2"),
        (["objectives=[n_parameters]"], "has to begin with a metric"),
        (["objectives=[ndcg@7]"], "'ndcg@7' is not reported"),
        (["resume=runs/x"], "for `recsys train`"),
        (["~space"], "space is empty"),
        (["trainer=ddp"], "each trial in one process"),
        (["storage='mysql://$NOBODY@host/x'"], "NOBODY, which is not set"),
        (["storage=nothing"], "storage 'nothing' cannot be opened"),
    ],
)
def test_what_cannot_be_is_said_at_the_door(finished, data, words, reason):
    with pytest.raises(ConfigError, match=reason):
        swept(finished[0], *data, *KNN, *words)


def test_a_line_that_a_full_disk_cut_is_dropped(data, tmp_path):
    swept(tmp_path, *data, *KNN, "n_trials=2")
    with (tmp_path / "journal.log").open("a") as file:
        file.write('{"op_code":4,"worker_id":"x')
    _, found = swept(tmp_path, *data, *KNN, "n_trials=3")
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 3


def command(out, *words):
    return [sys.executable, "-W", "ignore", SCRIPT, f"out={out}", *words]


def ran(words):
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=500)


@pytest.mark.slow
def test_killed_half_way_a_sweep_ends_as_if_it_had_not_been(data, tmp_path):
    words = [
        *data,
        *TOWER,
        DIM_AND_RATE,
        "trainer.max_epochs=12",
        "n_trials=6",
        "pruner.n_startup_trials=2",
        "pruner.n_warmup_steps=2",
    ]
    assert ran(command(tmp_path / "whole", *words)).returncode == 0
    process = subprocess.Popen(command(tmp_path / "cut", *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "cut" / "trial-0003" / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert trials(tmp_path / "cut")[3].state == TrialState.RUNNING, "killed too late"
    resumed = ran(command(tmp_path / "cut", *words))
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("test: csv") == 1
    whole, cut = trials(tmp_path / "whole"), trials(tmp_path / "cut")
    assert outcome(cut) == outcome(whole)
    assert TrialState.PRUNED in {trial.state for trial in whole}


@pytest.mark.slow
def test_two_workers_share_the_trials(data, tmp_path):
    words = command(tmp_path, *data, *TOWER, DIM_AND_RATE, "trainer.max_epochs=2", "n_trials=8")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(words, **pipes) for _ in range(2)]
    said = [worker.communicate(timeout=500) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    found = trials(tmp_path)
    assert len(found) == 8
    assert all(trial.state.is_finished() for trial in found)
    assert all(trial.user_attrs["begun"][1] == 1 for trial in found), "a trial was begun twice"
    lines = [line for _, error in said for line in error.splitlines() if line.startswith("trial ")]
    assert sorted(int(line.split()[1]) for line in lines) == list(range(8))
    assert all("trial " in error for _, error in said), "one worker did everything"
    assert "".join(out for out, _ in said).count("test: csv") == 1


@pytest.mark.slow
def test_ctrl_c_leaves_a_study_that_goes_on(data, tmp_path):
    words = command(tmp_path, *data, *TOWER, DIM_AND_RATE, "trainer.max_epochs=200", "patience=200", "n_trials=3")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "trial-0000" / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "unfinished trials: 1" in out
    assert [trial.state for trial in trials(tmp_path)] == [TrialState.RUNNING]


@pytest.mark.slow
def test_training_the_best_again_gives_its_figure(data, tmp_path):
    _, found = swept(tmp_path, *data, *TOWER, DIM_AND_RATE, "n_trials=3")
    best = max((trial for trial in found if trial.state == TrialState.COMPLETE), key=lambda trial: trial.value)
    words = [
        "--config-dir",
        str(tmp_path),
        "experiment=best",
        "export=false",
        "threads=1",
        f"hydra.run.dir={tmp_path}/again",
    ]
    again = ran([sys.executable, "-W", "ignore", "-m", "recsys.cli.main", "train", *words])
    assert again.returncode == 0, again.stderr
    assert Run.open(tmp_path / "again").read_json("metrics")["validation"]["ndcg@10"] == best.value


def test_a_space_of_ones_own_lies_in_a_folder_named_before_the_words(tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "own.yaml").write_text(
        "# @package _global_\nout: own\nspace:\n  loss: choice(softmax,gbce)\n"
    )
    words = ["sweep", "--config-dir", str(tmp_path), "sweep=own", "n_trials=3", "--cfg", "job"]
    found = ran([sys.executable, "-m", "recsys.cli.main", *words])
    assert found.returncode == 0, found.stderr
    assert "loss: choice(softmax,gbce)" in found.stdout
