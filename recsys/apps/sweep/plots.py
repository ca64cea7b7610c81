"""Pictures of a study: how it went, which settings matter, where the good trials lie."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from recsys.run import atomic

FEWEST = 3
"""finished trials, below which there is nothing to see"""


def write_study_plots(study: optuna.Study, folder: Path, objectives: Sequence[str]) -> list[Path]:
    """The PNGs written: history, importances and parallel coordinates, and of several objectives their compromises;
    none for fewer than three finished trials.
    """
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(done) < FEWEST:
        return []
    figures = {
        "history": _history(trials, done, objectives[0]),
        "importances": _importances(study, objectives),
        "parallel_coordinates": _parallel(done, objectives[0]),
    }
    if len(objectives) > 1:
        figures["compromises"] = _compromises(done, study.best_trials, objectives)
    for name, figure in figures.items():
        with atomic(folder / f"{name}.png") as temporary:
            FigureCanvasAgg(figure).print_figure(temporary, format="png")
    return [folder / f"{name}.png" for name in figures]


def _history(trials: Sequence[FrozenTrial], done: Sequence[FrozenTrial], objective: str) -> Figure:
    """What each trial reached, and the best so far."""
    figure, axes = _empty(9, 4.5)
    numbers, values = [trial.number for trial in done], [trial.values[0] for trial in done]
    best = np.maximum.accumulate(values)
    axes.step([*numbers, len(trials) - 1], [*best, best[-1]], where="post", color="C0", label="best so far")
    axes.scatter(numbers, values, color="C0", label="finished", zorder=3)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    reached = [max(trial.intermediate_values.values()) for trial in pruned]
    if pruned:
        axes.scatter([trial.number for trial in pruned], reached, marker="x", color="C1", label="pruned, best epoch")
    failed = [trial.number for trial in trials if trial.state == TrialState.FAIL]
    if failed:
        axes.plot(failed, np.full(len(failed), axes.get_ylim()[0]), "|", color="C3", markersize=14, label="failed")
    if trials[0].state == TrialState.COMPLETE:
        axes.axhline(trials[0].values[0], color="grey", linestyle=":", label="settings without a sweep (trial 0)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=f"validation {objective}")
    figure.legend(loc="outside upper center", ncols=5, fontsize="small")
    return figure


def _importances(study: optuna.Study, objectives: Sequence[str]) -> Figure:
    """PED-ANOVA: how differently the good trials spread over a setting than all trials."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Target and region quantiles")  # few trials, all shares equal
        found = optuna.importance.get_param_importances(study)
    figure, axes = _empty(8, max(2.5, 1.2 + 0.4 * len(found)))
    names = list(found)[::-1]
    bars = axes.barh(names, [found[name] for name in names])
    axes.bar_label(bars, fmt="{:.0%}", padding=3)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel(f"share of the importance for {' and '.join(objectives)} (PED-ANOVA)")
    return figure


def _parallel(done: Sequence[FrozenTrial], objective: str) -> Figure:
    """A line a trial through its settings, the better the brighter and the later drawn."""
    space = {key: own for trial in done for key, own in trial.distributions.items()}
    figure, axes = _empty(max(5.0, 2 + 1.5 * len(space)), 5)
    values = np.array([trial.values[0] for trial in done])
    colours = ScalarMappable(Normalize(values.min(), values.max()), "viridis")
    for row in values.argsort(kind="stable"):
        places = [_place(own, done[row].params[key]) for key, own in space.items() if key in done[row].params]
        axes.plot(range(len(places)), places, color=colours.to_rgba(values[row]), marker=".", alpha=0.8, linewidth=1.5)
    for column, own in enumerate(space.values()):
        axes.axvline(column, color="black", linewidth=0.6)
        for place, text in _ticks(own):
            box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1}
            axes.text(column + 0.04, place, text, fontsize="small", va="center", bbox=box)
    axes.set_xticks(range(len(space)), [key.replace(".", ".\n", 1) for key in space])
    axes.set(xlim=(-0.1, len(space) - 0.5), ylim=(-0.03, 1.03))
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    figure.colorbar(colours, ax=axes, label=f"validation {objective}", pad=0.01)
    return figure


def _compromises(done: Sequence[FrozenTrial], front: Sequence[FrozenTrial], objectives: Sequence[str]) -> Figure:
    """The first two objectives; numbered where no other trial is better in all."""
    figure, axes = _empty(7, 5)
    axes.scatter([trial.values[1] for trial in done], [trial.values[0] for trial in done], color="lightgrey")
    axes.scatter([trial.values[1] for trial in front], [trial.values[0] for trial in front], color="C0")
    for trial in front:
        axes.annotate(
            str(trial.number), trial.values[1::-1], xytext=(5, 5), textcoords="offset points", fontsize="small"
        )
    axes.set(xlabel=objectives[1], ylabel=f"validation {objectives[0]}")
    return figure


def _empty(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _place(own: BaseDistribution, value: object) -> float:
    """Where a value lies on its axis, from 0 to 1."""
    if isinstance(own, CategoricalDistribution):
        return own.choices.index(value) / max(len(own.choices) - 1, 1)
    assert isinstance(own, FloatDistribution | IntDistribution) and isinstance(value, int | float)
    low, high, at = (np.log([own.low, own.high, value]) if own.log else np.array([own.low, own.high, value])).tolist()
    return (at - low) / ((high - low) or 1.0)


def _ticks(own: BaseDistribution) -> list[tuple[float, str]]:
    if isinstance(own, CategoricalDistribution):
        return [(_place(own, choice), str(choice)) for choice in own.choices]
    assert isinstance(own, FloatDistribution | IntDistribution)
    return [(0.0, f"{own.low:g}"), (1.0, f"{own.high:g}")]
