"""What variety costs: the quality of a trained run's lists against the variety of their items, as `Diversify` trades
one for the other.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from recsys.data.batches.batch import Batch
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import Scorer, hide_seen, make_ranking_batches, make_scorer
from recsys.extras import require_extra
from recsys.models.build import restore
from recsys.run import Run
from recsys.serving.item_table import ItemTable
from recsys.serving.middleware.rules import Candidates, Diversify, RuleContext

K = 10


def measure(run: str, columns: Sequence[str], relevances: Sequence[float], pool: int, plot: str | None) -> list[str]:
    """Returns lines with NDCG@10 and the diversity of test lists for every `relevance`; draws both into `plot`.

    `columns` are item features of the run's data; raises ConfigError if the run lacks one.
    """
    trained = Run.open(run)
    dataset = load_dataset(trained.config)
    if missing := set(columns) - set(dataset.encoders["item"]):
        raise ConfigError(f"{missing} are not item features of the run; train it with data.features.item={[*columns]}")
    model = restore(trained.config, dataset, trained)
    table, plain_scorer, results = _make_item_table(dataset, columns), make_scorer(model), []
    for relevance in relevances:
        rule = Diversify(columns, relevance)
        diverse_scorer = _apply_rule(plain_scorer, table, rule, pool)
        batches = make_ranking_batches(dataset, "test", model.max_history)
        metrics = evaluate_scorer(diverse_scorer, dataset, batches, (K,)).metrics
        results.append((relevance, metrics["ndcg@10"], metrics["diversity@10"]))
    if plot is not None:
        _draw_trade_off(results, Path(plot), dataset)
    return [f"relevance {x:.2f}: ndcg@10 {ndcg:.4f}, diversity@10 {diversity:.4f}" for x, ndcg, diversity in results]


def _make_item_table(dataset: Dataset, columns: Sequence[str]) -> ItemTable:
    """Returns the codes of item features, one row per item by number."""
    features = dataset.features("item")
    codes = {name: features[name][1 : dataset.n_items + 1, 0] for name in columns}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "items.parquet"
        pq.write_table(pa.table({"item": np.arange(dataset.n_items), **codes}), path)
        return ItemTable(path)


def _apply_rule(plain_scorer: Scorer, table: ItemTable, rule: Diversify, pool: int) -> Scorer:
    """Returns a scorer whose best `pool` items are in the order of a rule, and which leaves out the others."""
    rng = np.random.default_rng(0)

    def score_batch(batch: Batch) -> Tensor:
        scores = plain_scorer(batch).float()
        hide_seen(scores, batch)
        best = scores.topk(min(pool, scores.shape[1] - 1), dim=1)
        ordered = torch.full_like(scores, -torch.inf)
        for row, (values, items) in enumerate(zip(best.values.numpy(), best.indices.numpy(), strict=True)):
            n = int(np.isfinite(values).sum())
            candidates = Candidates(items[:n] - 1, values[:n].astype(float), np.arange(n), np.ones(n))
            order = rule(candidates, RuleContext(table, K, [], 0.0, rng, {})).order
            ordered[row, items[order]] = torch.arange(n, 0, -1).float()
        return ordered

    return score_batch


def _draw_trade_off(results: Sequence[tuple[float, float, float]], path: Path, dataset: Dataset) -> None:
    with require_extra("insights"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot([diversity for _, _, diversity in results], [ndcg for _, ndcg, _ in results], "o-")
    for relevance, ndcg, diversity in results:
        axes.annotate(f"{relevance:g}", (diversity, ndcg), textcoords="offset points", xytext=(5, 5))
    axes.set(xlabel="diversity@10", ylabel="ndcg@10", title=f"{dataset.metadata['name']}: relevance from 1 down")
    axes.grid(alpha=0.3)
    figure.savefig(path)
