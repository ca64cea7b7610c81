"""What a run found, as a table for people and as numbers for files."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from recsys.evaluation.evaluate import Ranking
from recsys.evaluation.metrics.stats import paired_difference

COLUMNS = ("ndcg", "hr", "recall", "mrr", "coverage", "diversity", "popularity_lift")
SEGMENT_COLUMNS = ("ndcg", "hr")


def format_rankings(rankings: Mapping[str, Ranking]) -> str:
    """One line a model, the best NDCG first; diversity where items have categories."""
    rows = {}
    for name, ranking in rankings.items():
        ndcg = f"ndcg@{ranking.k}"
        low, high = ranking.intervals[ndcg]
        shown = [f"{column}@{ranking.k}" for column in COLUMNS]
        columns = {metric: f"{ranking.metrics[metric]:.4f}" for metric in shown if metric in ranking.metrics}
        rows[name] = {**columns, f"95 % of {ndcg}": f"{low:.4f}-{high:.4f}"}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame.sort_values(frame.columns[0], ascending=False, kind="stable").to_string()


def compare_to_best(name: str, model: Ranking, baselines: Mapping[str, Ranking]) -> str:
    """A sentence on whether the model beats the best baseline on NDCG, by a paired bootstrap over users."""
    ndcg = f"ndcg@{model.k}"
    best = _best(baselines)
    found = paired_difference(model.per_user[ndcg], baselines[best].per_user[ndcg])
    how = f"by {abs(found.difference):.4f} (95 % {found.low:+.4f} to {found.high:+.4f}, p = {found.p_value:.3f})"
    if found.low > 0:
        return f"{name} beats the best baseline, {best}, on {ndcg} {how}."
    if found.high < 0:
        return f"{name} does NOT beat the best baseline: {best} is better on {ndcg} {how}; use {best}."
    return f"{name} does not clearly beat the best baseline, {best}: {ndcg} differs {how}; prefer the simpler {best}."


def format_segments(name: str, model: Ranking, baselines: Mapping[str, Ranking]) -> list[str]:
    """For each segment column the model beside the best baseline over all, one line a value."""
    shown = {name: model}
    if baselines:
        best = _best(baselines)
        shown[best] = baselines[best]
    return [_segment_table(column, shown) for column in model.segments]


def _segment_table(column: str, shown: Mapping[str, Ranking]) -> str:
    rows = {}
    for value, counted in next(iter(shown.values())).segments[column].items():
        rows[value] = {"users": f"{counted['n_users']:,}", "targets": f"{counted['n_targets']:,}"}
        for name, ranking in shown.items():
            metrics = [f"{metric}@{ranking.k}" for metric in SEGMENT_COLUMNS]
            rows[value] |= {f"{name} {m}": f"{ranking.segments[column][value][m]:.4f}" for m in metrics}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns=column).to_string()


def _best(rankings: Mapping[str, Ranking]) -> str:
    """The name of the ranking with the highest NDCG."""
    return max(rankings, key=lambda name: rankings[name].metrics[f"ndcg@{rankings[name].k}"])


def ranking_to_json(ranking: Ranking) -> dict[str, Any]:
    """All metrics, those on warm targets under `warm/`, the ends of the intervals, and `segments` if there are any."""
    return {
        **ranking.metrics,
        **{f"warm/{name}": value for name, value in ranking.warm.items()},
        **{f"{name}/low": low for name, (low, _) in ranking.intervals.items()},
        **{f"{name}/high": high for name, (_, high) in ranking.intervals.items()},
        "n_users": ranking.n_users,
        "n_targets": ranking.n_targets,
        "n_cold_targets": ranking.n_cold_targets,
        **({"segments": ranking.segments} if ranking.segments else {}),
    }
