"""How much a model gains from the context of requests: its ranking with a column unknown, and with it shuffled.

B users, R rows to rank.
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

ABLATIONS = ("unknown", "shuffled")


class MaskedContextBatches(RankingBatches):
    """The rows of other batches, with `fields` of the requests unknown or, if `shuffled`, taken from another row."""

    def __init__(self, batches: RankingBatches, fields: Collection[str], shuffled: bool, seed: int = 0) -> None:
        super().__init__(batches.dataset, batches.part, batches.batch_size, batches.max_history)
        self.fields = fields
        self.other_row = np.zeros(int(self.rows.max(initial=0)) + 1, dtype=np.int64) if shuffled else None
        if self.other_row is not None:
            self.other_row[self.rows] = np.random.default_rng(seed).permutation(self.rows)

    def request(self, rows: Array) -> dict[str, Array]:
        """Columns (B, 1) of the requests with `fields` masked or shuffled."""
        columns = super().request(rows)
        if self.other_row is None:
            return columns | {name: np.zeros_like(columns[name]) for name in self.fields}
        shuffled = super().request(self.other_row[rows])
        return columns | {name: shuffled[name] for name in self.fields}


def measure_context(model: Model, dataset: Dataset, config: DictConfig) -> dict[str, Any] | None:
    """NDCG@k with each column of the context unknown and with it shuffled among the queries, and with all columns
    ablated at once; None for a model that reads no context.

    Single columns are measured on validation, because choosing columns by these figures is model selection. On the test
    part, which is looked at once, only the whole context is measured.
    """
    context = getattr(model, "context", None)
    fields = list(context.tables) if isinstance(context, ContextEmbedding) else []
    if not fields:
        return None
    k = 10 if 10 in config.ks else max(config.ks)

    def ablate(part: str, columns: Collection[str]) -> dict[str, float]:
        batches = make_ranking_batches(dataset, part, config.batches.max_history)
        return {
            ablation: _measure_ndcg(model, MaskedContextBatches(batches, columns, ablation == "shuffled"), k)
            for ablation in ABLATIONS
        }

    def measure_complete(part: str) -> float:
        return _measure_ndcg(model, make_ranking_batches(dataset, part, config.batches.max_history), k)

    return {
        f"ndcg@{k}": measure_complete("validation"),
        "fields": {name: ablate("validation", [name]) for name in fields},
        "all": ablate("validation", fields),
        "test": {f"ndcg@{k}": measure_complete("test"), "all": ablate("test", fields)},
    }


def format_context(ablation: dict[str, Any], dataset: Dataset) -> str:
    """The result of `measure_context` as text: one line per column with the NDCG it loses."""
    ndcg = next(name for name in ablation if name.startswith("ndcg@"))
    rows = {name: _format_losses(ablation[ndcg], values) for name, values in ablation["fields"].items()}
    rows["all"] = _format_losses(ablation[ndcg], ablation["all"])
    rows["all, on the test"] = _format_losses(ablation["test"][ndcg], ablation["test"]["all"])
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="context").to_string()
    lines = [f"\ncontext: {ndcg} on validation, and its change if a column is unknown or from another query", table]
    if has_queries_at_cut(dataset):
        lines.append(
            "all queries are at the time of the cut, so only one time of day is known; "
            "split.ask=event makes one query per event, at its time"
        )
    return "\n".join(lines)


def _format_losses(complete: float, ablated: dict[str, float]) -> dict[str, str]:
    losses = {name: f"{ablated[name]:.4f} ({ablated[name] - complete:+.4f})" for name in ABLATIONS}
    return {"known": f"{complete:.4f}", **losses}


def _measure_ndcg(model: Model, batches: RankingBatches, k: int) -> float:
    ranking = evaluate_scorer(partial(score_batch, model), batches.dataset, batches, (k,))
    return ranking.metrics[f"ndcg@{k}"]
