"""The study behind a sweep: where it is stored, who trains which trial, and what a killed worker left."""

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
BEGINNINGS = 3
"""of a trial without another epoch, before it is given up: it may be what kills its worker"""


def open_study(
    config: DictConfig, directions: Sequence[StudyDirection], about: Mapping[str, Any], default: Mapping[str, Any]
) -> optuna.Study:
    """The study of the folder, whose first trial is the default; ConfigError if it was begun with other settings."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = Path(config.out)
    (folder / LOCKS).mkdir(parents=True, exist_ok=True)
    with hold_study(folder):
        if not (folder / PLACE).exists():
            write_text(folder / PLACE, uuid4().hex)
        study = optuna.create_study(
            storage=_storage(config.storage, folder), study_name=config.study, load_if_exists=True,
            directions=list(directions), pruner=build(config.pruner),
        )  # fmt: skip
        begun = study.user_attrs.get("about")
        if begun is None:
            study.set_user_attr("about", dict(about))
        elif begun != about:
            raise ConfigError(f"'{folder}' has a sweep with other settings ({_difference(begun, about)}); change out=")
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(dict(default))
    return study


def claim_trial(study: optuna.Study, config: DictConfig, folder: Path) -> tuple[Trial, FileLock] | None:
    """The next trial for this worker alone, with the lock that says so: one that a dead worker left here, else a new
    one; None where all have been begun.
    """
    with hold_study(folder):
        for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            lock = _lock(folder, left.number)
            if _is_here(study, left.number, folder) and lock.acquire(wait=False):
                return _owned(Trial(study, left._trial_id), config, folder), lock
        asked = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]
        if len(asked) >= config.n_trials:
            return None
        trial = study.ask()
        lock = _lock(folder, trial.number)
        lock.acquire()
        return _owned(trial, config, folder), lock


def record_attempt(trial: Trial) -> bool:
    """Whether the trial has been begun again and again without finishing another epoch; counts this time."""
    epochs = len(trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    before, times = trial.user_attrs.get("begun", (-1, 0))
    trial.set_user_attr("begun", (epochs, times + 1 if epochs == before else 1))
    return bool(epochs == before and times >= BEGINNINGS)


@contextmanager
def hold_study(folder: Path) -> Iterator[None]:
    """A block that one worker of the folder at a time is in."""
    with hold_lock(folder / LOCKS / "sweep"):
        yield


def count_unfinished(study: optuna.Study) -> int:
    """How many trials are not finished."""
    return len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)))


def get_trial_folder(folder: Path, number: int) -> Path:
    """The run folder of a trial."""
    return folder / f"trial-{number:04}"


def _owned(trial: Trial, config: DictConfig, folder: Path) -> Trial:
    """What is drawn for a trial depends on its number and on the trials before it, not on the worker's history: a
    sweep that was killed goes on as if it had not been.
    """
    trial.set_user_attr(PLACE, (folder / PLACE).read_text())
    trial.study.sampler = _sampler(config, trial.number)
    return trial


def _sampler(config: DictConfig, number: int) -> BaseSampler:
    sampler: BaseSampler = build(config.sampler, seed=config.seed * 1_000_003 + number)
    return sampler


def _lock(folder: Path, number: int) -> FileLock:
    return FileLock(folder / LOCKS / get_trial_folder(folder, number).name)


def _is_here(study: optuna.Study, number: int, folder: Path) -> bool:
    """Whether a trial's run folder is in this folder. One that is nowhere lost its worker as it began, unless a worker
    elsewhere begins it this moment.
    """
    place = study.get_trials(deepcopy=False)[number].user_attrs.get(PLACE)
    if place is None:
        time.sleep(2)
        place = study.get_trials(deepcopy=False)[number].user_attrs.get(PLACE)
    return place in (None, (folder / PLACE).read_text())


def _storage(url: str | None, folder: Path) -> BaseStorage:
    if url is None:
        path = folder / "journal.log"
        lock = FileLock(folder / LOCKS / "journal")
        lock.acquire()
        _mend(path)
        lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    unset = [name for name in re.findall(r"\$\{?(\w+)", url) if name not in os.environ]
    if unset:
        raise ConfigError(f"storage names ${unset[0]}, which is not set; export {unset[0]}=VALUE")
    try:
        # a connection is given back after each question: trials take hours, and servers count connections
        return RDBStorage(os.path.expandvars(url), engine_kwargs={"poolclass": NullPool})
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"storage '{url}' cannot be opened ({type(error).__name__}: {reason})") from error


def _mend(path: Path) -> None:
    """Drop a last line that a full disk cut short: the next one would be glued to it."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _difference(begun: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    names = [name for name in {**begun, **now} if begun.get(name) != now.get(name)]
    return ", ".join(f"{name} was {begun.get(name)} and is {now.get(name)}" for name in names[:3])
