"""What a run found, as a table for people and as numbers for files."""

from collections.abc import Mapping

import pandas as pd

from recsys.evaluation import Ranking
from recsys.metrics.stats import paired_difference

COLUMNS = ("ndcg@10", "hr@10", "recall@10", "mrr@10", "coverage@10", "popularity_lift@10")


def table(rankings: Mapping[str, Ranking]) -> str:
    """One line a model, the best NDCG@10 first."""
    rows = {}
    for name, ranking in rankings.items():
        low, high = ranking.intervals["ndcg@10"]
        rows[name] = {
            **{column: f"{ranking.metrics[column]:.4f}" for column in COLUMNS},
            "95 % of ndcg@10": f"{low:.4f}-{high:.4f}",
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame.sort_values("ndcg@10", ascending=False, kind="stable").to_string()


def verdict(name: str, model: Ranking, baselines: Mapping[str, Ranking]) -> str:
    """A sentence on whether the model beats the best baseline on NDCG@10, by a paired bootstrap over users."""
    best = max(baselines, key=lambda other: baselines[other].metrics["ndcg@10"])
    found = paired_difference(model.per_user["ndcg@10"], baselines[best].per_user["ndcg@10"])
    how = f"by {abs(found.difference):.4f} (95 % {found.low:+.4f} to {found.high:+.4f}, p = {found.p_value:.3f})"
    if found.low > 0:
        return f"{name} beats the best baseline, {best}, on ndcg@10 {how}."
    if found.high < 0:
        return f"{name} does NOT beat the best baseline: {best} is better on ndcg@10 {how}; use {best}."
    return f"{name} does not clearly beat the best baseline, {best}: ndcg@10 differs {how}; prefer the simpler {best}."


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
