"""A champion meets new events: it is followed by who learned from them, and by nobody who learned nonsense."""

import sys
from unittest import mock

import numpy as np
import pytest

from recsys.apps.lifecycle.refresh import _find_first_new_second, compose_refresh_config
from recsys.apps.lifecycle.registry import Registry
from recsys.cli.main import run_command
from recsys.data.dataset import Dataset
from recsys.errors import ConfigError, DataError
from recsys.export.export import export_run
from recsys.run import Run
from recsys.training.train import train_run
from tests.composed import composed
from tests.planted import planted_log

SPLIT = {"_target_": "recsys.data.preparation.splits.GlobalTime", "quantile": 0.9, "validation": 0.05}


def command(capsys, *words):
    """The lines and the exit status of `recsys WORDS`."""
    name, *rest = words
    with mock.patch.object(sys, "argv", ["recsys", *rest]):
        try:
            run_command(name)
            status = 0
        except SystemExit as end:
            status = end.code
    return capsys.readouterr().out.splitlines(), status


def log():
    """Users on the ring; in the last days some are new, and so is an item."""
    found = planted_log(n_users=300).sort_values("timestamp", ignore_index=True)
    late = found["timestamp"] > found["timestamp"].quantile(0.6)
    return found.assign(item=found["item"].mask(late & (found["item"] == "i24"), "i99"))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A registry whose champion knows the first 70 % of the log."""
    folder, events = tmp_path_factory.mktemp("lifecycle"), log()
    events.head(int(0.7 * len(events))).to_parquet(folder / "then.parquet")
    events.to_parquet(folder / "now.parquet")
    config = composed(
        "data=parquet", f"data.path={folder}/then.parquet", f"data.folder={folder}/data", "split=global_time",
        "ks=[10]", "data.exclude_seen=false", "model=sasrec", "model.dim=32", "model.n_blocks=1", "baselines=none",
        "batches.batch_size=16", "batches.alone=false", "optimizer.lr=0.003", "logger=none", "trainer.max_epochs=8",
        "trainer.enable_progress_bar=false",
    )  # fmt: skip
    run = Run.create(folder / "run", config)
    train_run(run)
    export_run(run, composed(f"run={run.folder}", "check_users=50", name="export"))
    with mock.patch.object(sys, "argv", ["recsys", f"run={run.folder}", f"registry={folder}/registry"]):
        run_command("register")
    return Registry(folder / "registry")


@pytest.mark.slow
def test_new_events_make_a_new_champion_and_a_rollback_the_old_one(shelf, capsys):
    newer = shelf.folder.parent / "now.parquet"
    words = f"registry={shelf.folder}", f"path={newer}", "limits.latency=50"
    lines, status = command(capsys, "refresh", *words)
    assert status == 0, lines
    assert shelf.read_link("champion") == shelf.read_link("challenger") == "0002"
    assert any("ok   ndcg@10" in line for line in lines)
    old, new = (Dataset(shelf.folder / name / "vocabulary") for name in ("0001", "0002"))
    n = old.n_items
    assert new.raw_items().to_pylist()[:n] == old.raw_items().to_pylist()[:n]
    assert "i99" in new.raw_items().to_pylist()[n:]
    assert shelf.open_champion().read_json("refresh")["from"] == "0001"
    assert command(capsys, "rollback", f"registry={shelf.folder}") == (["champion: 0001, before 0002"], 0)
    lines, status = command(capsys, "refresh", *words, "promote=false")
    assert (status, shelf.read_link("champion"), shelf.read_link("challenger")) == (3, "0001", "0003")


@pytest.mark.slow
def test_a_challenger_that_learned_shuffled_labels_is_rejected(shelf, capsys):
    events, rng = log(), np.random.default_rng(0)
    before = np.arange(len(events)) < 0.9 * len(events)
    events.loc[before, "item"] = rng.permutation(events.loc[before, "item"])
    events.to_parquet(shelf.folder.parent / "shuffled.parquet")
    champion, n = shelf.read_link("champion"), len(list(shelf.folder.glob("[0-9]*")))
    words = f"registry={shelf.folder}", f"path={shelf.folder.parent}/shuffled.parquet", "limits.latency=50"
    lines, status = command(capsys, "refresh", *words)
    assert status == 3
    assert any("FAIL ndcg@10" in line for line in lines)
    assert shelf.read_link("champion") == champion
    assert len(list(shelf.folder.glob("[0-9]*"))) == n + 1


@pytest.mark.slow
def test_drift_is_a_status_of_its_own(shelf, capsys):
    words = f"registry={shelf.folder}", "days=4", "reference=10", "users=20"
    lines, status = command(capsys, "drift", *words, f"path={shelf.folder.parent}/now.parquet")
    assert {line.split(":")[0].split(maxsplit=1)[1] for line in lines[:-1]} == {
        "history length", "item popularity", "unknown items", "hour", "recommended items",
    }  # fmt: skip
    assert status in (0, 3)
    assert (status == 3) == any(line.startswith("DRIFT") for line in lines)
    events = log()
    late = events["timestamp"] > events["timestamp"].quantile(0.9)
    events.loc[late, "item"] = "never seen"
    events.to_parquet(shelf.folder.parent / "drifted.parquet")
    lines, status = command(capsys, "drift", *words, f"path={shelf.folder.parent}/drifted.parquet")
    assert status == 3
    assert any(line.startswith("DRIFT unknown items") for line in lines)


@pytest.fixture
def run(tmp_path, dataset):
    folder = tmp_path / "0001"
    config = composed("data=parquet", "data.path=old.parquet", "model.dim=8")
    found = Run.create(folder, config)
    found.write_json("version", {"trained_until": int(dataset.timestamps.max())})
    return found


def test_the_champions_settings_go_on_with_a_newer_log(run):
    found = compose_refresh_config(run, "new.parquet", {"optimizer": {"lr": 0.1}}, SPLIT)
    assert found.data.source.path == "new.parquet"
    assert found.data.vocabulary == f"{run.folder}/vocabulary"
    assert (found.model.dim, found.optimizer.lr, found.split.quantile) == (8, 0.1, 0.9)


def test_a_stale_champion_learns_nothing_more(run):
    run.write_json("stale", {"why": "it learned from somebody"})
    with pytest.raises(ConfigError, match="is stale: it learned from somebody; train again"):
        compose_refresh_config(run, "new.parquet", {}, SPLIT)


def test_data_that_are_no_file_have_no_path(tmp_path):
    run = Run.create(tmp_path / "run", composed("data=complete_journey"))
    with pytest.raises(ConfigError, match="path=x: the champion's data do not come from a file"):
        compose_refresh_config(run, "x", {}, SPLIT)
    assert compose_refresh_config(run, None, {}, SPLIT).data.source == run.config.data.source


def test_a_champion_is_never_judged_on_what_it_learned(run, dataset, shop):
    with pytest.raises(DataError, match="needs times and split=global_time"):
        _find_first_new_second(run, dataset)
    run.write_json("version", {"trained_until": shop.metadata["cuts"][1]})
    assert _find_first_new_second(run, shop) == shop.metadata["cuts"][1]
    run.write_json("version", {"trained_until": shop.metadata["cuts"][1] + 1})
    with pytest.raises(DataError, match="it would be tested on events that it was trained on"):
        _find_first_new_second(run, shop)


def test_only_one_champion_is_asked_for(tmp_path, capsys):
    assert command(capsys, "rollback", f"registry={tmp_path}")[1].startswith("error: ")
    assert "has no champion" in command(capsys, "refresh", f"registry={tmp_path}")[1]
