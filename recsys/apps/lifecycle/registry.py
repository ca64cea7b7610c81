"""A folder of models, one of which serves: `0001/`, `0002/`, … and the links `champion` and `challenger`.

A version is added under another name and renamed, a link is made anew and renamed over the old one: whoever is killed
leaves the old state or the new one. `history.jsonl` tells every switch before it is made, so that a rollback knows the
way even if the switch itself was the last thing that happened.
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
from recsys.export.export import TABLES
from recsys.run import Run, write_text

NEEDED = ("config.yaml", "model.pt", "model.onnx")
KEPT = (*NEEDED, "metrics.json", "environment.json", "training.json", "timing.json", "refresh.json")
CHAMPION, CHALLENGER = "champion", "challenger"


class Registry:
    """The versions of one folder; each is a run folder too."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @contextmanager
    def locked(self) -> Iterator[Path]:
        """Nobody else changes the registry meanwhile; gives a folder to work in, removed at the end. ConfigError where
        somebody does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"another command changes '{self.folder}' now; wait until it has ended") from None
            for left in self.folder.glob(".work-*"):  # of commands that were killed
                shutil.rmtree(left)
            work = self.folder / f".work-{uuid4().hex}"
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def named(self, alias: str) -> str | None:
        """The version that a link names; None where there is no such link."""
        path = self.folder / alias
        return path.readlink().name if path.is_symlink() else None

    def champion(self) -> Run:
        """The version that serves; ConfigError where none does."""
        name = self.named(CHAMPION)
        if name is None:
            raise ConfigError(f"'{self.folder}' has no champion; recsys register run=RUN registry={self.folder} first")
        return Run.open(self.folder / name)

    def add(self, run: Run, dataset: Dataset, about: dict[str, Any], work: Path) -> str:
        """A new version: the run's files, linked where that can be, and the vocabulary of its data; returns its name.

        Raises ConfigError where the run lacks a file, is stale or learned from other data than these.
        """
        check_same_dataset(run, dataset)
        for name in NEEDED:
            if not (run.folder / name).exists():
                raise ConfigError(f"'{run.folder}' has no {name}; finish it: recsys export run={run.folder}")
        made = work / "version"
        (made / "vocabulary").mkdir(parents=True)
        beside = [path.name for path in run.folder.glob(TABLES.format("*"))]
        for name in (*KEPT, *beside):
            if (run.folder / name).exists():
                _linked(run.folder / name, made / name)
        for name in VOCABULARY_FILES:
            shutil.copyfile(dataset.folder / name, made / "vocabulary" / name)
        write_text(made / "version.json", json.dumps({"made": _now(), **about}, indent=1) + "\n")
        number = max((int(path.name) for path in self.folder.glob("[0-9]*")), default=0) + 1
        made.rename(self.folder / f"{number:04}")
        return f"{number:04}"

    def switch(self, to: str, why: str) -> None:
        """Make a version the champion, all at once."""
        line = {"time": _now(), "from": self.named(CHAMPION), "to": to, "why": why}
        earlier = "".join(json.dumps(each) + "\n" for each in self.history())
        write_text(self.folder / "history.jsonl", earlier + json.dumps(line) + "\n")
        self.link(CHAMPION, to)

    def link(self, alias: str, to: str) -> None:
        """Let a link name another version."""
        made = self.folder / f".{alias}-{uuid4().hex}"
        made.symlink_to(to, target_is_directory=True)
        made.replace(self.folder / alias)

    def history(self) -> list[dict[str, Any]]:
        """Every switch, the oldest first; the last one may not have come to pass."""
        path = self.folder / "history.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def previous(self) -> str:
        """Whom the champion was promoted over; ConfigError where it is the first."""
        now = self.named(CHAMPION)
        ways = [line["from"] for line in self.history() if line["to"] == now and line["why"] != "rollback"]
        if not ways or ways[-1] is None:
            raise ConfigError(f"champion {now} of '{self.folder}' has no predecessor; name a version with to=")
        return str(ways[-1])


def trained_until(dataset: Dataset) -> int | None:
    """The first second that nothing was learned of; None without times."""
    if dataset.timestamps is None:
        return None
    return int(dataset.timestamps[dataset.in_training()].max()) + 1


def _linked(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # safe: runs replace their files and never write into them
    except OSError:
        shutil.copyfile(source, target)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
