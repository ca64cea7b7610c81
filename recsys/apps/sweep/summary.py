"""What a sweep prints: a line for each trial; at its end a leaderboard, the best configuration, plots and one test."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import optuna
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState

from recsys.apps.sweep.best_settings import compose_trial, write_experiment
from recsys.apps.sweep.plots import write_study_plots
from recsys.apps.sweep.search_space import SearchSetting
from recsys.apps.sweep.study import count_unfinished, get_trial_folder, hold_study
from recsys.data.load import load_dataset
from recsys.evaluation.compare import compare_with_baselines
from recsys.evaluation.leaderboard import compare_runs
from recsys.models.build import restore
from recsys.run import Run

STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def describe_trial(trial: FrozenTrial, study: optuna.Study, config: DictConfig) -> str:
    """Returns a line about a trial: what it reached, its settings, and the best trials so far."""
    if trial.state == TrialState.FAIL:
        return f"trial {trial.number} of {config.n_trials} failed: {trial.user_attrs['error']}"
    effort = [f"{len(trial.intermediate_values)} epochs"] if trial.intermediate_values else []
    effort += [f"{trial.duration.total_seconds():.0f} s"] if trial.duration else []
    reached = format_objectives(trial, config)
    if trial.state == TrialState.PRUNED:
        reached = f"pruned at {trial.intermediate_values[max(trial.intermediate_values)]:.4f}"
    settings = " ".join(f"{key}={_format_value(value)}" for key, value in trial.params.items())
    best_trials = find_best_trials(study)[:3]
    best = "; ".join(f"trial {best.number} with {format_objectives(best, config)}" for best in best_trials)
    return (
        f"trial {trial.number} of {config.n_trials}: {reached} ({', '.join(effort)}) {settings}; best: {best or 'none'}"
    )


def format_objectives(trial: FrozenTrial, config: DictConfig) -> str:
    """Returns a trial's objectives with their names."""
    pairs = zip(config.objectives, trial.values or (), strict=False)
    return ", ".join(f"{name} {_format_value(value)}" for name, value in pairs)


def find_best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Returns the best trial; with several objectives those that no other trial beats in all, ordered by the first."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        return []
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: -trial.values[0])
    return [study.best_trial]


def summarize_sweep(
    study: optuna.Study, config: DictConfig, words: Sequence[str], settings: Sequence[SearchSetting], interrupted: bool
) -> Iterator[str]:
    """Yields the lines of the summary, which is complete only in the worker that finishes last."""
    folder, best_trials, unfinished = Path(config.out), find_best_trials(study), count_unfinished(study)
    counts = Counter(STATES[trial.state] for trial in study.get_trials(deepcopy=False) if trial.state in STATES)
    yield f"\n{folder}: " + ", ".join(f"{n} trials {state}" for state, n in counts.items() or [("finished", 0)])
    for trial in best_trials:
        path = folder / "experiment" / f"{'best' if len(study.directions) == 1 else f'trial_{trial.number}'}.yaml"
        comment = f"Trial {trial.number} of {config.study}: validation {format_objectives(trial, config)}."
        write_experiment(path, *compose_trial(words, settings, trial), comment)
        command = f"recsys train --config-dir {folder} experiment={path.stem}"
        yield f"trial {trial.number}: {format_objectives(trial, config)}; {command}"
    if best_trials and study.get_trials()[0].state == TrialState.COMPLETE:
        yield f"the settings without a sweep, trial 0: {format_objectives(study.get_trials()[0], config)}"
    if unfinished or interrupted:
        yield f"unfinished trials: {unfinished}; another worker is training them, or the same command resumes them"
    elif best_trials:
        yield from _finish_sweep(study, config, folder, best_trials)


def _finish_sweep(
    study: optuna.Study, config: DictConfig, folder: Path, best_trials: Sequence[FrozenTrial]
) -> Iterator[str]:
    yield ""
    yield from compare_runs(str(folder), config.objectives[0], str(folder / "leaderboard.csv"))
    yield "plots: " + ", ".join(str(path) for path in write_study_plots(study, folder, list(config.objectives)))
    if len(study.directions) == 1:
        with hold_study(folder):
            yield _test_run(Run(get_trial_folder(folder, best_trials[0].number)))
    else:
        yield "the test set is not used: with several objectives there is no single best trial"


def _test_run(run: Run) -> str:
    """Compares the best trial with the baselines on the test set, which a sweep uses once."""
    if (run.folder / "metrics.json").exists():
        return f"the test set was used before: {run.folder}/metrics.json"
    if not (run.folder / "config.yaml").exists():
        return f"{run.folder} is on another machine; recsys evaluate run={run.folder} runs the test there"
    dataset = load_dataset(run.config)
    metrics, text = compare_with_baselines(restore(run.config, dataset, run), dataset, run.config)
    run.write_json("metrics", metrics)
    return text


def _format_value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
