"""Rankings as text tables for people and as JSON for files."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from recsys.evaluation.evaluate import Ranking
from recsys.evaluation.metrics.stats import PairedDifference, paired_difference

COLUMNS = ("ndcg", "hr", "recall", "mrr", "coverage", "diversity", "popularity_lift")
SEGMENT_COLUMNS = ("ndcg", "hr")


def format_rankings(rankings: Mapping[str, Ranking]) -> str:
    """A table with one line per model, the best NDCG first; it shows diversity if items have categories."""
    rows = {}
    for name, ranking in rankings.items():
        ndcg = f"ndcg@{ranking.k}"
        low, high = ranking.intervals[ndcg]
        shown = [f"{column}@{ranking.k}" for column in COLUMNS]
        columns = {metric: f"{ranking.metrics[metric]:.4f}" for metric in shown if metric in ranking.metrics}
        rows[name] = {**columns, f"95% of {ndcg}": f"{low:.4f}-{high:.4f}"}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame.sort_values(frame.columns[0], ascending=False, kind="stable").to_string()


def compare_to_best(name: str, model: Ranking, baselines: Mapping[str, Ranking]) -> str:
    """A sentence that says whether the model beats the best baseline on NDCG, by a paired bootstrap over users."""
    best = _best(baselines)
    ndcg = f"ndcg@{model.k}"
    difference = paired_difference(model.per_user[ndcg], baselines[best].per_user[ndcg])
    return state_verdict(name, best, ndcg, difference)


def state_verdict(name: str, baseline: str, metric: str, difference: PairedDifference) -> str:
    """A sentence that says whether a model beats its best baseline, from the paired difference of the two."""
    interval = f"95% {difference.low:+.4f} to {difference.high:+.4f}, p = {difference.p_value:.3f}"
    amount = f"by {abs(difference.difference):.4f} ({interval})"
    if difference.low > 0:
        return f"{name} beats the best baseline, {baseline}, on {metric} {amount}."
    if difference.high < 0:
        return f"{name} does NOT beat the best baseline: {baseline} is better on {metric} {amount}; use {baseline}."
    return (
        f"{name} does not clearly beat the best baseline, {baseline}: {metric} differs {amount}; "
        f"prefer the simpler {baseline}."
    )


def format_segments(name: str, model: Ranking, baselines: Mapping[str, Ranking]) -> list[str]:
    """For each segment column a table of the model and the best overall baseline, one line per value."""
    shown = {name: model}
    if baselines:
        best = _best(baselines)
        shown[best] = baselines[best]
    return [_segment_table(column, shown) for column in model.segments]


def _segment_table(column: str, shown: Mapping[str, Ranking]) -> str:
    rows = {}
    for value, counts in next(iter(shown.values())).segments[column].items():
        rows[value] = {"users": f"{counts['n_users']:,}", "targets": f"{counts['n_targets']:,}"}
        for name, ranking in shown.items():
            metrics = [f"{metric}@{ranking.k}" for metric in SEGMENT_COLUMNS]
            rows[value] |= {f"{name} {m}": f"{ranking.segments[column][value][m]:.4f}" for m in metrics}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns=column).to_string()


def _best(rankings: Mapping[str, Ranking]) -> str:
    """The name of the ranking with the highest NDCG."""
    return max(rankings, key=lambda name: rankings[name].metrics[f"ndcg@{rankings[name].k}"])


def ranking_to_json(ranking: Ranking) -> dict[str, Any]:
    """All metrics, those on warm targets as `warm/…`, the bounds of intervals, and `segments` if there are any."""
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
