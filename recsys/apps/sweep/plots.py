"""Plots of a study: its history, the importance of its settings and where the good trials are."""

import warnings
from collections.abc import Mapping, Sequence
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

MIN_TRIALS = 3
"""finished trials, below which there is nothing to plot"""


def write_study_plots(study: optuna.Study, folder: Path, objectives: Sequence[str]) -> list[Path]:
    """Returns the PNGs written: history, importances and parallel coordinates, and with several objectives their
    compromises; none with fewer than three finished trials.
    """
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(finished) < MIN_TRIALS:
        return []
    figures = {
        "history": _draw_history(trials, finished, objectives[0]),
        "importances": _draw_importances(study, objectives),
        "parallel_coordinates": _draw_parallel_coordinates(finished, objectives[0]),
    }
    if len(objectives) > 1:
        figures["compromises"] = _draw_compromises(finished, study.best_trials, objectives)
    for name, figure in figures.items():
        with atomic(folder / f"{name}.png") as temporary:
            FigureCanvasAgg(figure).print_figure(temporary, format="png")
    return [folder / f"{name}.png" for name in figures]


def _draw_history(trials: Sequence[FrozenTrial], finished: Sequence[FrozenTrial], objective: str) -> Figure:
    """Draws what each trial reached, and the best so far."""
    figure, axes = _make_figure(9, 4.5)
    numbers, values = [trial.number for trial in finished], [trial.values[0] for trial in finished]
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


def _draw_importances(study: optuna.Study, objectives: Sequence[str]) -> Figure:
    """Draws PED-ANOVA: how much a setting's distribution in the good trials differs from that in all trials."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Target and region quantiles")  # with few trials, all are equal
        importances = optuna.importance.get_param_importances(study)
    figure, axes = _make_figure(8, max(2.5, 1.2 + 0.4 * len(importances)))
    names = list(importances)[::-1]
    bars = axes.barh(names, [importances[name] for name in names])
    axes.bar_label(bars, fmt="{:.0%}", padding=3)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda fraction, _: f"{fraction:.0%}")
    axes.set_xlabel(f"share of the importance for {' and '.join(objectives)} (PED-ANOVA)")
    return figure


def _draw_parallel_coordinates(finished: Sequence[FrozenTrial], objective: str) -> Figure:
    """Draws one line per trial through its settings; better trials are brighter and drawn later."""
    space = {key: distribution for trial in finished for key, distribution in trial.distributions.items()}
    figure, axes = _make_figure(max(5.0, 2 + 1.5 * len(space)), 5)
    values = np.array([trial.values[0] for trial in finished])
    colours = ScalarMappable(Normalize(values.min(), values.max()), "viridis")
    for row in values.argsort(kind="stable"):
        params = finished[row].params
        heights = [_scale(distribution, params[key]) for key, distribution in space.items() if key in params]
        axes.plot(
            range(len(heights)), heights, color=colours.to_rgba(values[row]), marker=".", alpha=0.8, linewidth=1.5
        )
    _label_axes(axes, space)
    figure.colorbar(colours, ax=axes, label=f"validation {objective}", pad=0.01)
    return figure


def _label_axes(axes: Axes, space: Mapping[str, BaseDistribution]) -> None:
    box = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1}
    for column, distribution in enumerate(space.values()):
        axes.axvline(column, color="black", linewidth=0.6)
        for height, text in _list_ticks(distribution):
            axes.text(column + 0.04, height, text, fontsize="small", va="center", bbox=box)
    axes.set_xticks(range(len(space)), [key.replace(".", ".\n", 1) for key in space])
    axes.set(xlim=(-0.1, len(space) - 0.5), ylim=(-0.03, 1.03))
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_compromises(
    finished: Sequence[FrozenTrial], front: Sequence[FrozenTrial], objectives: Sequence[str]
) -> Figure:
    """Draws the first two objectives; trials that no other trial beats in all objectives are numbered."""
    figure, axes = _make_figure(7, 5)
    axes.scatter([trial.values[1] for trial in finished], [trial.values[0] for trial in finished], color="lightgrey")
    axes.scatter([trial.values[1] for trial in front], [trial.values[0] for trial in front], color="C0")
    for trial in front:
        axes.annotate(
            str(trial.number), trial.values[1::-1], xytext=(5, 5), textcoords="offset points", fontsize="small"
        )
    axes.set(xlabel=objectives[1], ylabel=f"validation {objectives[0]}")
    return figure


def _make_figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _scale(distribution: BaseDistribution, value: object) -> float:
    """Returns the position of a value on its axis, from 0 to 1."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) / max(len(distribution.choices) - 1, 1)
    assert isinstance(distribution, FloatDistribution | IntDistribution) and isinstance(value, int | float)
    numbers = np.array([distribution.low, distribution.high, value])
    low, high, scaled = (np.log(numbers) if distribution.log else numbers).tolist()
    return (scaled - low) / ((high - low) or 1.0)


def _list_ticks(distribution: BaseDistribution) -> list[tuple[float, str]]:
    if isinstance(distribution, CategoricalDistribution):
        return [(_scale(distribution, choice), str(choice)) for choice in distribution.choices]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [(0.0, f"{distribution.low:g}"), (1.0, f"{distribution.high:g}")]
