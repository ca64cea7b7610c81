"""What a sweep says: a line for each trial, and at its end leaderboard, best configuration, plots and one test."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState

from recsys.apps.sweep.best_settings import composed, write
from recsys.apps.sweep.plots import plotted
from recsys.apps.sweep.search_space import Setting
from recsys.apps.sweep.study import held_here, running, trial_folder
from recsys.data.load import load_dataset
from recsys.evaluation.compare import compare_with_baselines
from recsys.evaluation.leaderboard import compare_runs
from recsys.models.build import restore
from recsys.run import Run

SAID = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def in_words(trial: FrozenTrial, study: optuna.Study, config: DictConfig) -> str:
    """A trial in a line: what it reached, its settings, and the best so far."""
    if trial.state == TrialState.FAIL:
        return f"trial {trial.number} of {config.n_trials} failed: {trial.user_attrs['error']}"
    took = [f"{len(trial.intermediate_values)} epochs"] if trial.intermediate_values else []
    took += [f"{trial.duration.total_seconds():.0f} s"] if trial.duration else []
    reached = reached_by(trial, config)
    if trial.state == TrialState.PRUNED:
        reached = f"pruned at {trial.intermediate_values[max(trial.intermediate_values)]:.4f}"
    settings = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    best = "; ".join(f"trial {one.number} with {reached_by(one, config)}" for one in best_trials(study)[:3])
    return (
        f"trial {trial.number} of {config.n_trials}: {reached} ({', '.join(took)}) {settings}; best: {best or 'none'}"
    )


def reached_by(trial: FrozenTrial, config: DictConfig) -> str:
    """Its objectives by name."""
    return ", ".join(
        f"{name} {_short(value)}" for name, value in zip(config.objectives, trial.values or (), strict=False)
    )


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial; of several objectives those that no other trial beats in all, the best in the first one first."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        return []
    return (
        sorted(study.best_trials, key=lambda trial: -trial.values[0])
        if len(study.directions) > 1
        else [study.best_trial]
    )


def ended(
    study: optuna.Study, config: DictConfig, words: Sequence[str], settings: Sequence[Setting], interrupted: bool
) -> Iterator[str]:
    """The summary; whole only by the worker that is done last."""
    folder, best, left = Path(config.out), best_trials(study), running(study)
    counts = Counter(SAID[trial.state] for trial in study.get_trials(deepcopy=False) if trial.state in SAID)
    yield f"\n{folder}: " + ", ".join(f"{n} trials {said}" for said, n in counts.items() or [("finished", 0)])
    for trial in best:
        path = folder / "experiment" / f"{'best' if len(study.directions) == 1 else f'trial_{trial.number}'}.yaml"
        comment = f"Trial {trial.number} of {config.study}: validation {reached_by(trial, config)}."
        write(path, *composed(words, settings, trial), comment)
        command = f"recsys train --config-dir {folder} experiment={path.stem}"
        yield f"trial {trial.number}: {reached_by(trial, config)}; {command}"
    if best and study.get_trials()[0].state == TrialState.COMPLETE:
        yield f"the settings without a sweep, trial 0: {reached_by(study.get_trials()[0], config)}"
    if left or interrupted:
        yield f"unfinished trials: {left}; another worker trains them, or the same command goes on with them"
    elif best:
        yield from _whole(study, config, folder, best)


def _whole(study: optuna.Study, config: DictConfig, folder: Path, best: Sequence[FrozenTrial]) -> Iterator[str]:
    yield ""
    yield from compare_runs(str(folder), config.objectives[0], str(folder / "leaderboard.csv"))
    yield "plots: " + ", ".join(str(path) for path in plotted(study, folder, list(config.objectives)))
    if len(study.directions) == 1:
        with held_here(folder):
            yield _tested(Run(trial_folder(folder, best[0].number)))
    else:
        yield "the test is not looked at: several objectives have no one best trial"


def _tested(run: Run) -> str:
    """The best trial beside the baselines on the test, which is looked at once."""
    if (run.folder / "metrics.json").exists():
        return f"the test was looked at before: {run.folder}/metrics.json"
    if not (run.folder / "config.yaml").exists():
        return f"{run.folder} lies on another machine; there, recsys evaluate run={run.folder} looks at the test"
    dataset = load_dataset(run.config)
    metrics, text = compare_with_baselines(restore(run.config, dataset, run), dataset, run.config)
    run.write_json("metrics", metrics)
    return text


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
