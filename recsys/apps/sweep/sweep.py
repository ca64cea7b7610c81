"""Runs a sweep: trials until all are done, one log line each, then a summary."""

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

from recsys.apps.sweep.best_settings import compose_training, compose_trial
from recsys.apps.sweep.search_space import SearchSetting, parse_search_space
from recsys.apps.sweep.study import claim_trial, get_trial_folder, hold_study, open_study, record_attempt
from recsys.apps.sweep.summary import describe_trial, summarize_sweep
from recsys.apps.sweep.trial import COSTS, silence_logs, train_trial
from recsys.config.settings import check_settings
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.evaluation.leaderboard import comparable_settings

log = logging.getLogger(__name__)
MAX_FAILURES = 3
"""trials after which a sweep stops if all of them failed"""


def run_sweep(config: DictConfig, words: Sequence[str]) -> Iterator[str]:
    """Yields the summary of a sweep, whose folder `out` gets a run for each trial; `words` are the overrides on the
    command line that composed `config`.

    Raises ConfigError for a space that cannot be searched, or if the first trials all fail. Ctrl-C exits with status
    130; the same words resume the sweep.
    """
    check_settings(config)
    plain, choices = compose_training(words)
    if plain.resume is not None:
        raise ConfigError("resume= is for `recsys train`; a sweep resumes by itself with the words that started it")
    if str(plain.trainer.strategy).startswith("ddp"):
        raise ConfigError("a sweep trains each trial in one process; leave out trainer=ddp and start more workers")
    settings, objectives = parse_search_space(config.get("space") or OmegaConf.create()), list(config.objectives)
    default = {setting.key: setting.find_default(plain, choices) for setting in settings}
    directions = _check_objectives(objectives, plain.ks)
    study = open_study(config, directions, _describe_study(plain, settings, objectives), default)
    with hold_study(Path(config.out)):
        load_dataset(plain)  # one worker prepares the data
    interrupted = False
    try:
        _run_trials(study, config, words, settings)
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second and disables the signal
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupted = True
    with silence_logs():
        yield from summarize_sweep(study, config, words, settings, interrupted)
    if interrupted:
        sys.exit(130)


def _run_trials(
    study: optuna.Study, config: DictConfig, words: Sequence[str], settings: Sequence[SearchSetting]
) -> None:
    """Runs one trial after the other until all have been started or the time is over."""
    folder, start = Path(config.out), time.monotonic()
    if len(config.objectives) > 1:
        log.info("several objectives: every trial is trained to its end, since pruning needs a single objective")
    while config.timeout is None or time.monotonic() - start < config.timeout:
        claim = claim_trial(study, config, folder)
        if claim is None:
            return
        trial, lock = claim
        try:
            _run_trial(trial, folder, words, settings, config)
        finally:
            lock.release()
        trials = study.get_trials(deepcopy=False)
        log.info("%s", describe_trial(trials[trial.number], study, config))
        finished = [trial for trial in trials if trial.state.is_finished()]
        if len(finished) >= MAX_FAILURES and {trial.state for trial in finished} == {TrialState.FAIL}:
            reason = trials[trial.number].user_attrs["error"]
            raise ConfigError(f"the first {len(finished)} trials failed, the last with {reason}")


def _run_trial(
    trial: Trial, folder: Path, words: Sequence[str], settings: Sequence[SearchSetting], config: DictConfig
) -> None:
    """Trains a trial and reports the result to the study; an error of one trial ends that trial alone."""
    try:
        if record_attempt(trial):
            raise RuntimeError("its worker died three times before another epoch was done; is the memory enough?")
        with silence_logs():
            trial_config, _ = compose_trial(words, settings, trial)
            values = train_trial(trial, trial_config, get_trial_folder(folder, trial.number), config.objectives)
        trial.study.tell(trial.number, values)
    except optuna.TrialPruned:
        trial.study.tell(trial.number, state=TrialState.PRUNED)
    except Exception as error:
        trial.set_user_attr("error", f"{type(error).__name__}: {' '.join(str(error).split())}")
        trial.study.tell(trial.number, state=TrialState.FAIL)


def _describe_study(plain: DictConfig, settings: Sequence[SearchSetting], objectives: Sequence[str]) -> dict[str, Any]:
    """Returns what all trials of a study have in common, as JSON restores it."""
    space = {f"space.{setting.key}": setting.expression for setting in settings}
    about = {**comparable_settings(plain), **space, "objectives": list(objectives)}
    restored: dict[str, Any] = json.loads(json.dumps(about))
    return restored


def _check_objectives(objectives: Sequence[str], ks: Sequence[int]) -> list[StudyDirection]:
    """Returns the direction of each objective; ConfigError for one that trials do not report."""
    if not objectives or objectives[0] in COSTS:
        raise ConfigError(f"objectives={objectives} has to begin with a metric, such as ndcg@10")
    for name in objectives:
        if name not in COSTS and name.rpartition("@")[2] not in map(str, ks):
            raise ConfigError(f"objective '{name}' is not reported: ks={list(ks)}; others are {', '.join(COSTS)}")
    return [StudyDirection.MINIMIZE if name in COSTS else StudyDirection.MAXIMIZE for name in objectives]
