"""The study behind a sweep: where it is stored, which worker trains which trial, and what a killed worker left."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
from omegaconf import DictConfig
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState
from sqlalchemy.pool import NullPool

from recsys.apps.sweep.locks import FileLock, hold_lock
from recsys.config.build import build
from recsys.errors import ConfigError
from recsys.run import write_text

LOCKS, PLACE = "locks", "place"
"""PLACE is a file with an id of the sweep's folder, and the attribute with which each trial names its folder"""
MAX_ATTEMPTS = 3
"""attempts at a trial without another finished epoch before it fails: the trial itself may kill its worker"""


def open_study(
    config: DictConfig, directions: Sequence[StudyDirection], about: Mapping[str, Any], default: Mapping[str, Any]
) -> optuna.Study:
    """Returns the study of the folder, whose first trial is the default; ConfigError if it has other settings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = Path(config.out)
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    with hold_study(folder):
        if not (folder / PLACE).exists():
            write_text(folder / PLACE, uuid4().hex)
        study = optuna.create_study(
            storage=_open_storage(config.storage, folder), study_name=config.study, load_if_exists=True,
            directions=list(directions), pruner=build(config.pruner),
        )  # fmt: skip
        stored = study.user_attrs.get("about")
        if stored is None:
            study.set_user_attr("about", dict(about))
        elif stored != about:
            difference = _format_difference(stored, about)
            raise ConfigError(f"'{folder}' has a sweep with other settings ({difference}); change out=")
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(dict(default))
    return study


def claim_trial(study: optuna.Study, config: DictConfig, folder: Path) -> tuple[Trial, FileLock] | None:
    """Returns the next trial for this worker alone and its lock: one that a dead worker left in this folder, else a new
    one; None if all have been started.
    """
    with hold_study(folder):
        for running in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = _make_trial_lock(folder, running.number)
            if _is_in_folder(study, running.number, folder) and lock.acquire(wait=False):
                return _take_over(Trial(study, running._trial_id), config, folder), lock
        started = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
        if len(started) >= config.n_trials:
            return None
        trial = study.ask()
        lock = _make_trial_lock(folder, trial.number)
        lock.acquire()
        return _take_over(trial, config, folder), lock


def record_attempt(trial: Trial) -> bool:
    """Counts an attempt at a trial; returns whether it is one too many without another finished epoch."""
    epochs = len(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    before, attempts = trial.user_attrs.get("begun", (-1, 0))
    trial.set_user_attr("begun", (epochs, attempts + 1 if epochs == before else 1))
    return bool(epochs == before and attempts >= MAX_ATTEMPTS)


@contextmanager
def hold_study(folder: Path) -> Iterator[None]:
    """A context that only one worker of the folder at a time is in."""
    with hold_lock(folder / LOCKS / "sweep"):
        yield


def count_unfinished(study: optuna.Study) -> int:
    """Returns how many trials are running or waiting."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)))


def get_trial_folder(folder: Path, number: int) -> Path:
    """Returns the run folder of a trial."""
    return folder / f"trial-{number:04}"


def _take_over(trial: Trial, config: DictConfig, folder: Path) -> Trial:
    """Makes what is sampled for a trial depend on its number and on the trials before it, not on this worker: a sweep
    that was killed continues as if it had not been.
    """
    trial.set_user_attr(PLACE, (folder / PLACE).read_text())
    trial.study.sampler = _make_sampler(config, trial.number)
    return trial


def _make_sampler(config: DictConfig, number: int) -> BaseSampler:
    sampler: BaseSampler = build(config.sampler, seed=config.seed * 1_000_003 + number)
    return sampler


def _make_trial_lock(folder: Path, number: int) -> FileLock:
    return FileLock(folder / LOCKS / get_trial_folder(folder, number).name)


def _is_in_folder(study: optuna.Study, number: int, folder: Path) -> bool:
    """Whether a trial's run folder is in this folder. A trial without one lost its worker right at its start, unless a
    worker elsewhere is starting it now, which two seconds decide.
    """
    folder_id = study.get_trials(deepcopy=False)[number].user_attrs.get(PLACE)
    if folder_id is None:
        time.sleep(2)
        folder_id = study.get_trials(deepcopy=False)[number].user_attrs.get(PLACE)
    return folder_id in (None, (folder / PLACE).read_text())


def _open_storage(url: str | None, folder: Path) -> BaseStorage:
    if url is None:
        path = folder / "journal.log"
        lock = FileLock(folder / LOCKS / "journal")
        lock.acquire()
        _repair_journal(path)
        lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    unset = [name for name in re.findall(r"\$\{?(\w+)", url) if name not in os.environ]
    if unset:
        raise ConfigError(f"storage names ${unset[0]}, which is not set; export {unset[0]}=VALUE")
    try:
        # a connection is closed after each query: trials take hours, and servers limit connections
        return RDBStorage(os.path.expandvars(url), engine_kwargs={"poolclass": NullPool})
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"storage '{url}' cannot be opened ({type(error).__name__}: {reason})") from error


def _repair_journal(path: Path) -> None:
    """Drops an incomplete last line, as a full disk leaves it: the next line would be appended to it."""
    if path.exists():
        content = path.read_bytes()
        complete = content.rfind(b"\n") + 1
        if complete < len(content):
            os.truncate(path, complete)


def _format_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return ", ".join(f"{name} was {before.get(name)} and is {now.get(name)}" for name in names[:3])
