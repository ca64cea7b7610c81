"""Faulty input to the real command: one clear line or a counted quarantine, and nothing half-written."""

import os
import re
import shutil
import time

import pandas as pd
import pytest

from recsys.data.schema import Clock
from recsys.errors import DataError
from tests.fault_cases import COUNTED, REFUSED
from tests.faults import ROOT, ask, full_disk, limited
from tests.planted import planted_log, prepared

PAGE = (ROOT / "docs" / "faults.md").read_text()


def left_behind(folder):
    """Whatever is neither the log nor a whole dataset."""
    whole = {path.parent for path in folder.glob("data/*/metadata.json")}
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent not in whole)
    return [path.relative_to(folder).as_posix() for path in files if path.parent != folder]


@pytest.mark.slow
@pytest.mark.parametrize("fault", REFUSED, ids=lambda fault: fault.name)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, fault):
    answer = ask(fault, tmp_path)
    assert answer.code == 1
    assert answer.text.splitlines()[-1].startswith("error: ") and "Traceback" not in answer.text
    assert re.search(fault.answer, answer.line), answer.line
    assert left_behind(tmp_path) == []
    assert f"| {fault.name} | error: " in PAGE, "python -m tests.faults > docs/faults.md"


@pytest.mark.slow
@pytest.mark.parametrize("fault", COUNTED, ids=lambda fault: fault.name)
def test_what_can_be_used_is_kept_and_the_rest_counted(tmp_path, fault):
    answer = ask(fault, tmp_path)
    assert answer.code == 0, answer.text
    assert re.search(fault.answer, answer.line), answer.line
    assert f"| {fault.name} | {answer.line} | 0 |" in PAGE, "python -m tests.faults > docs/faults.md"


def test_days_written_as_numbers_are_midnights_of_the_zone(tmp_path):
    frame = pd.DataFrame({"user": "u", "item": list("ab"), "timestamp": [20240701, 20240131]})
    found = prepared(tmp_path, frame, clock=Clock(zone="Europe/Berlin"))
    expected = [pd.Timestamp(day, tz="Europe/Berlin").timestamp() for day in ("2024-01-31", "2024-07-01")]
    assert found.timestamps.tolist() == expected


def test_a_named_unit_is_taken_at_its_word(tmp_path):
    frame = pd.DataFrame({"user": "u", "item": list("ab"), "timestamp": [20240131, 5]})
    assert prepared(tmp_path, frame, clock=Clock(unit="s")).timestamps.tolist() == [5, 20240131]
    assert prepared(tmp_path, frame, clock=Clock(unit="ms")).timestamps.tolist() == [0, 20240]


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_in_one_line_and_leaves_nothing(tmp_path):
    answer = full_disk(tmp_path)
    assert answer.code == 1
    assert answer.line.startswith("error: ") and "too large" in answer.line and "Traceback" not in answer.text
    assert {path.name for path in tmp_path.iterdir()} <= {"log.csv", "data"}
    assert list(tmp_path.glob("data/*")) == list(tmp_path.glob("data/.*")) == []
    assert "| a disk that fills up (no file above 64 KiB) | error: " in PAGE


@pytest.mark.parametrize("size", [4 * 1024, 120 * 1024])
def test_a_file_that_cannot_be_written_whole_is_a_clear_error(tmp_path, size):
    code = f"from tests.planted import planted_log, prepared; prepared({str(tmp_path)!r}, planted_log(1000, 25))"
    found = limited(["-c", code], size)
    complaint = r"DataError: '.*' cannot be written \(.*File too large\); free disk space or choose another data.folder"
    assert re.search(complaint, found.stderr.splitlines()[-1])
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_when_arrays_are_written(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(
        DataError, match=r"dataset '.*' cannot be written \(.*No space left.*free disk space or choose another"
    ):
        prepared(tmp_path, planted_log())
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_swept_after_a_day(tmp_path):
    found = prepared(tmp_path, planted_log())
    name = found.folder.name
    shutil.rmtree(found.folder)
    folders = {
        kind: tmp_path / f".{owner}-{kind}" for kind, owner in (("old", name), ("new", name), ("other", "planted-0"))
    }
    for kind, folder in folders.items():
        (folder / "stages").mkdir(parents=True)
        (folder / "stages" / "sorted.parquet").write_text("half")
        for path in (folder / "stages" / "sorted.parquet", folder / "stages", folder):
            moment = time.time() - (2 * 86_400 if kind != "new" or path == folder else 3600)
            os.utime(path, (moment, moment))
    prepared(tmp_path, planted_log())
    assert {kind for kind, folder in folders.items() if folder.exists()} == {"new", "other"}


def test_a_run_that_was_refused_may_take_the_same_folder(tmp_path):
    assert ask(REFUSED[0], tmp_path).code == 1
    assert not (tmp_path / "run").exists()
    assert ask(COUNTED[0], tmp_path).code == 0


def test_a_model_that_cannot_be_saved_is_a_clear_error(tmp_path):
    code = f"""
import torch
from pathlib import Path
from recsys.run import Run
Run(Path({str(tmp_path)!r})).save_weights({{"w": torch.zeros(100_000)}})"""
    found = limited(["-c", code], 64 * 1024)
    assert "OSError: " in found.stderr and "model.pt' cannot be written" in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path):
    (tmp_path / "data").mkdir(mode=0o555)
    with pytest.raises(DataError, match=r"cannot be written .*Permission denied.*choose another data.folder"):
        prepared(tmp_path / "data", planted_log())
