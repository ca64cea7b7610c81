"""What a run found, as a table for people and as numbers for files."""

from collections.abc import Mapping

import pandas as pd

from recsys.evaluation import Ranking
from recsys.metrics.stats import paired_difference

COLUMNS = ("ndcg", "hr", "recall", "mrr", "coverage", "popularity_lift")


def table(rankings: Mapping[str, Ranking]) -> str:
    """One line a model, the best NDCG first."""
    rows = {}
    for name, ranking in rankings.items():
        ndcg = f"ndcg@{ranking.k}"
        low, high = ranking.intervals[ndcg]
        columns = {f"{column}@{ranking.k}": f"{ranking.metrics[f'{column}@{ranking.k}']:.4f}" for column in COLUMNS}
        rows[name] = {**columns, f"95 % of {ndcg}": f"{low:.4f}-{high:.4f}"}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame.sort_values(frame.columns[0], ascending=False, kind="stable").to_string()


def verdict(name: str, model: Ranking, baselines: Mapping[str, Ranking]) -> str:
    """A sentence on whether the model beats the best baseline on NDCG, by a paired bootstrap over users."""
    ndcg = f"ndcg@{model.k}"
    best = max(baselines, key=lambda other: baselines[other].metrics[ndcg])
    found = paired_difference(model.per_user[ndcg], baselines[best].per_user[ndcg])
    how = f"by {abs(found.difference):.4f} (95 % {found.low:+.4f} to {found.high:+.4f}, p = {found.p_value:.3f})"
    if found.low > 0:
        return f"{name} beats the best baseline, {best}, on {ndcg} {how}."
    if found.high < 0:
        return f"{name} does NOT beat the best baseline: {best} is better on {ndcg} {how}; use {best}."
    return f"{name} does not clearly beat the best baseline, {best}: {ndcg} differs {how}; prefer the simpler {best}."


def as_json(ranking: Ranking) -> dict[str, float]:
    """All metrics, those on warm targets under `warm/`, and the ends of the intervals."""
    return {
        **ranking.metrics,
        **{f"warm/{name}": value for name, value in ranking.warm.items()},
        **{f"{name}/low": low for name, (low, _) in ranking.intervals.items()},
        **{f"{name}/high": high for name, (_, high) in ranking.intervals.items()},
        "n_users": ranking.n_users,
        "n_targets": ranking.n_targets,
        "n_cold_targets": ranking.n_cold_targets,
    }
