"""A folder of models, one of which serves: versions `0001/`, `0002/`, … and the links `champion` and `challenger`.

A version is written under another name and then renamed; a link is created and then renamed over the old one. A process
that is killed therefore leaves the old state or the new one. `history.jsonl` records every switch before it is made, so
that a rollback finds the predecessor even if the switch itself was the last thing that happened.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from recsys.data.dataset import Dataset
from recsys.data.preparation.vocabulary import VOCABULARY_FILES
from recsys.data.run_record import check_same_dataset
from recsys.errors import ConfigError
from recsys.export.export import TABLES_FILE
from recsys.run import Run, write_text

REQUIRED = ("config.yaml", "model.pt", "model.onnx")
KEPT = (*REQUIRED, "metrics.json", "environment.json", "training.json", "timing.json", "refresh.json")
CHAMPION, CHALLENGER = "champion", "challenger"


class Registry:
    """The versions in one folder; each of them is a run folder too."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @contextmanager
    def lock(self) -> Iterator[Path]:
        """A context in which no other command changes the registry; gives a work folder, which is removed at the end.

        Raises ConfigError if another command is changing the registry.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"another command is changing '{self.folder}'; wait until it has ended") from None
            for leftover in self.folder.glob(".work-*"):  # from commands that were killed
                shutil.rmtree(leftover)
            work = self.folder / f".work-{uuid4().hex}"
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def read_link(self, alias: str) -> str | None:
        """Returns the version that a link points to; None if there is no such link."""
        path = self.folder / alias
        return path.readlink().name if path.is_symlink() else None

    def open_champion(self) -> Run:
        """Returns the version that serves; ConfigError if there is none."""
        version = self.read_link(CHAMPION)
        if version is None:
            raise ConfigError(f"'{self.folder}' has no champion; recsys register run=RUN registry={self.folder} first")
        return Run.open(self.folder / version)

    def add(self, run: Run, dataset: Dataset, about: dict[str, Any], work: Path) -> str:
        """Adds a version with the run's files, hard-linked where possible, and its data's vocabulary; returns its name.

        Raises ConfigError if the run lacks a file, is stale or was trained on other data than `dataset`.
        """
        check_same_dataset(run, dataset)
        for name in REQUIRED:
            if not (run.folder / name).exists():
                raise ConfigError(f"'{run.folder}' has no {name}; finish it: recsys export run={run.folder}")
        draft = work / "version"
        (draft / "vocabulary").mkdir(parents=True)
        tables = [path.name for path in run.folder.glob(TABLES_FILE.format("*"))]
        for name in (*KEPT, *tables):
            if (run.folder / name).exists():
                _link_or_copy(run.folder / name, draft / name)
        for name in VOCABULARY_FILES:
            shutil.copyfile(dataset.folder / name, draft / "vocabulary" / name)
        write_text(draft / "version.json", json.dumps({"made": _now(), **about}, indent=1) + "\n")
        number = max((int(path.name) for path in self.folder.glob("[0-9]*")), default=0) + 1
        draft.rename(self.folder / f"{number:04}")
        return f"{number:04}"

    def switch_champion(self, version: str, why: str) -> None:
        """Makes a version the champion, atomically, and records the switch and its reason."""
        line = {"time": _now(), "from": self.read_link(CHAMPION), "to": version, "why": why}
        earlier = "".join(json.dumps(switch) + "\n" for switch in self.read_history())
        write_text(self.folder / "history.jsonl", earlier + json.dumps(line) + "\n")
        self.link(CHAMPION, version)

    def link(self, alias: str, version: str) -> None:
        """Points a link to a version, atomically."""
        draft = self.folder / f".{alias}-{uuid4().hex}"
        draft.symlink_to(version, target_is_directory=True)
        draft.replace(self.folder / alias)

    def read_history(self) -> list[dict[str, Any]]:
        """Returns every recorded switch, oldest first; the last one may not have been made."""
        path = self.folder / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def find_predecessor(self) -> str:
        """Returns the version that the champion replaced when it was promoted; ConfigError if it was the first."""
        champion = self.read_link(CHAMPION)
        promotions = [line for line in self.read_history() if line["why"] != "rollback"]
        predecessors = [line["from"] for line in promotions if line["to"] == champion]
        if not predecessors or predecessors[-1] is None:
            raise ConfigError(f"champion {champion} of '{self.folder}' has no predecessor; name a version with to=")
        return str(predecessors[-1])


def find_training_end(dataset: Dataset) -> int | None:
    """Returns the first second after the training data; None without times."""
    if dataset.timestamps is None:
        return None
    return int(dataset.timestamps[dataset.in_training()].max()) + 1


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # safe: runs replace their files and never write into them
    except OSError:
        shutil.copyfile(source, target)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
