"""What the context of a request is worth to a model: the ranking with a column unknown, and with it shuffled.

B users, R rows to be ranked.
"""

from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from recsys.data.batches.batch import Array
from recsys.data.batches.ranking import RankingBatches, has_queries_at_cut
from recsys.data.dataset import Dataset
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, score_batch
from recsys.models.base import Model
from recsys.models.layers.embedding import ContextEmbedding

WAYS = ("unknown", "shuffled")


class MaskedContextBatches(RankingBatches):
    """The rows of other batches, told less: the `fields` of their requests unknown, or, `shuffled`, each row told those
    of another one.
    """

    def __init__(self, batches: RankingBatches, fields: Collection[str], shuffled: bool, seed: int = 0) -> None:
        super().__init__(batches.dataset, batches.part, batches.batch_size, batches.max_history)
        self.fields = fields
        self.other = np.zeros(int(self.rows.max(initial=0)) + 1, dtype=np.int64) if shuffled else None
        if self.other is not None:
            self.other[self.rows] = np.random.default_rng(seed).permutation(self.rows)

    def request(self, rows: Array) -> dict[str, Array]:
        """Columns (B, 1) of the moment, as far as they are told."""
        told = super().request(rows)
        if self.other is None:
            return told | {name: np.zeros_like(told[name]) for name in self.fields}
        others = super().request(self.other[rows])
        return told | {name: others[name] for name in self.fields}


def measure_context(model: Model, dataset: Dataset, config: DictConfig) -> dict[str, Any] | None:
    """N@k without each column of the context and with it shuffled among the queries, and of all columns at once;
    None for a model that takes no context.

    Columns are judged on validation, for whoever drops one for its figure has chosen by it; on the test, which is
    looked at once, only the whole context is.
    """
    context = getattr(model, "context", None)
    fields = list(context.tables) if isinstance(context, ContextEmbedding) else []
    if not fields:
        return None
    k = 10 if 10 in config.ks else max(config.ks)

    def figures(part: str, named: Collection[str]) -> dict[str, float]:
        batches = make_ranking_batches(dataset, part, config.batches.max_history)
        return {way: _ndcg(model, MaskedContextBatches(batches, named, way == "shuffled"), k) for way in WAYS}

    def all_told(part: str) -> float:
        return _ndcg(model, make_ranking_batches(dataset, part, config.batches.max_history), k)

    return {
        f"ndcg@{k}": all_told("validation"),
        "fields": {name: figures("validation", [name]) for name in fields},
        "all": figures("validation", fields),
        "test": {f"ndcg@{k}": all_told("test"), "all": figures("test", fields)},
    }


def format_context(worth: dict[str, Any], dataset: Dataset) -> str:
    """The figures as text, one line a column; what each costs when it is not there."""
    ndcg = next(name for name in worth if name.startswith("ndcg@"))
    rows = {name: _line(worth[ndcg], found) for name, found in worth["fields"].items()}
    rows["all"] = _line(worth[ndcg], worth["all"])
    rows["all, on the test"] = _line(worth["test"][ndcg], worth["test"]["all"])
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="context").to_string()
    lines = [f"\ncontext: {ndcg} on validation, and what is lost where a column is unknown, or another query's", table]
    if has_queries_at_cut(dataset):
        lines.append(
            "all are asked at the cut, where one clock is all that is known; split.ask=event asks in each moment"
        )
    return "\n".join(lines)


def _line(told: float, found: dict[str, float]) -> dict[str, str]:
    losses = {way: f"{found[way]:.4f} ({found[way] - told:+.4f})" for way in WAYS}
    return {"known": f"{told:.4f}", **losses}


def _ndcg(model: Model, batches: RankingBatches, k: int) -> float:
    ranking = evaluate_scorer(partial(score_batch, model), batches.dataset, batches, (k,))
    return ranking.metrics[f"ndcg@{k}"]
