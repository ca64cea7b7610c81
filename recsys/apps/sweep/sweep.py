"""The command: trials until all are done, each a line, and at the end what they found."""

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState

from recsys.apps.sweep.best_settings import composed, training
from recsys.apps.sweep.search_space import Setting, parsed
from recsys.apps.sweep.study import claimed, given_up, held_here, opened, trial_folder
from recsys.apps.sweep.summary import ended, in_words
from recsys.apps.sweep.trial import COSTS, quiet, train
from recsys.config.settings import check_settings
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.evaluation.leaderboard import comparable_settings

log = logging.getLogger(__name__)
HOPELESS = 3
"""failures with which a sweep may not begin"""


def sweep(config: DictConfig, words: Sequence[str]) -> Iterator[str]:
    """The lines that sum up the sweep of a composed configuration, whose words on the command line were these; its
    folder holds a run for each trial. ConfigError for a space that cannot be searched, or where nothing but failures
    comes of it. Interrupted by Ctrl-C, the status is 130, and the same words go on.
    """
    check_settings(config)
    plain, choices = training(words)
    if plain.resume is not None:
        raise ConfigError("resume= is for `recsys train`; a sweep goes on by itself with the words that began it")
    if str(plain.trainer.strategy).startswith("ddp"):
        raise ConfigError("a sweep trains each trial in one process; leave out trainer=ddp and start more workers")
    settings, objectives = parsed(config.get("space") or OmegaConf.create()), list(config.objectives)
    default = {setting.key: setting.standing(plain, choices) for setting in settings}
    folder = Path(config.out)
    study = opened(config, _directions(objectives, plain.ks), _about(plain, settings, objectives), default)
    with held_here(folder):
        load_dataset(plain)  # prepared once, by one worker
    interrupted = False
    try:
        _work(study, config, words, settings)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other, and the signal off
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupted = True
    with quiet():
        yield from ended(study, config, words, settings, interrupted)
    if interrupted:
        sys.exit(130)


def _work(study: optuna.Study, config: DictConfig, words: Sequence[str], settings: Sequence[Setting]) -> None:
    """Trials, one after the other, until all have been begun or the time is over."""
    folder, begun = Path(config.out), time.monotonic()
    if len(config.objectives) > 1:
        log.info("several objectives: every trial is trained to its end, for pruning knows one only")
    while config.timeout is None or time.monotonic() - begun < config.timeout:
        claim = claimed(study, config, folder)
        if claim is None:
            return
        trial, lock = claim
        try:
            _attempt(trial, folder, words, settings, config)
        finally:
            lock.release()
        done = study.get_trials(deepcopy=False)
        log.info("%s", in_words(done[trial.number], study, config))
        finished = [one for one in done if one.state.is_finished()]
        if len(finished) >= HOPELESS and {one.state for one in finished} == {TrialState.FAIL}:
            reason = done[trial.number].user_attrs["error"]
            raise ConfigError(f"the first {len(finished)} trials failed, the last with {reason}")


def _attempt(trial: Trial, folder: Path, words: Sequence[str], settings: Sequence[Setting], config: DictConfig) -> None:
    """Train a trial and tell the study what came of it; what is wrong with one trial ends that trial alone."""
    try:
        if given_up(trial):
            raise RuntimeError("its worker died three times before another epoch was done; is the memory enough?")
        with quiet():
            own, _ = composed(words, settings, trial)
            values = train(trial, own, trial_folder(folder, trial.number), config.objectives)
        trial.study.tell(trial.number, values)
    except optuna.TrialPruned:
        trial.study.tell(trial.number, state=TrialState.PRUNED)
    except Exception as error:
        trial.set_user_attr("error", f"{type(error).__name__}: {' '.join(str(error).split())}")
        trial.study.tell(trial.number, state=TrialState.FAIL)


def _about(plain: DictConfig, settings: Sequence[Setting], objectives: Sequence[str]) -> dict[str, Any]:
    """What trials of one study have in common, as JSON gives it back."""
    space = {f"space.{setting.key}": setting.said for setting in settings}
    about = {**comparable_settings(plain), **space, "objectives": list(objectives)}
    found: dict[str, Any] = json.loads(json.dumps(about))
    return found


def _directions(objectives: Sequence[str], ks: Sequence[int]) -> list[StudyDirection]:
    if not objectives or objectives[0] in COSTS:
        raise ConfigError(f"objectives={objectives} has to begin with a metric, such as ndcg@10")
    for name in objectives:
        if name not in COSTS and name.rpartition("@")[2] not in map(str, ks):
            raise ConfigError(f"objective '{name}' is not reported: ks={list(ks)}; others are {', '.join(COSTS)}")
    return [StudyDirection.MINIMIZE if name in COSTS else StudyDirection.MAXIMIZE for name in objectives]
