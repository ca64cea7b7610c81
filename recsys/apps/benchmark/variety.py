"""What variety costs: quality of a trained run's lists, and how much their items differ, as `Diversify` trades them."""

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
from recsys.serving.middleware.rules import Candidates, Diversify, Occasion

K = 10


def measure(run: str, columns: Sequence[str], relevances: Sequence[float], pool: int, plot: str | None) -> list[str]:
    """Lines with N@10 and the diversity of test lists for every `relevance`, and a plot of one against the other.

    `columns` are item features of the run's data; raises ConfigError where it has none of them.
    """
    trained = Run.open(run)
    dataset = load_dataset(trained.config)
    if missing := set(columns) - set(dataset.encoders["item"]):
        raise ConfigError(f"{missing} are no item features of the run; train it with data.features.item={[*columns]}")
    model = restore(trained.config, dataset, trained)
    table, plain, found = _table(dataset, columns), make_scorer(model), []
    for relevance in relevances:
        rule = Diversify(columns, relevance)
        rearranged = _rearranged(plain, table, rule, pool)
        metrics = evaluate_scorer(
            rearranged, dataset, make_ranking_batches(dataset, "test", model.max_history), (K,)
        ).metrics
        found.append((relevance, metrics["ndcg@10"], metrics["diversity@10"]))
    if plot is not None:
        _draw(found, Path(plot), dataset)
    return [f"relevance {each[0]:.2f}: ndcg@10 {each[1]:.4f}, diversity@10 {each[2]:.4f}" for each in found]


def _table(dataset: Dataset, columns: Sequence[str]) -> ItemTable:
    """The codes of item features, a row an item by number."""
    features = dataset.features("item")
    codes = {name: features[name][1 : dataset.n_items + 1, 0] for name in columns}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "items.parquet"
        pq.write_table(pa.table({"item": np.arange(dataset.n_items), **codes}), path)
        return ItemTable(path)


def _rearranged(plain: Scorer, table: ItemTable, rule: Diversify, pool: int) -> Scorer:
    """A scorer whose best `pool` items are in the order of a rule, and whose others are not listed."""
    draw = np.random.default_rng(0)

    def scores_of(batch: Batch) -> Tensor:
        scores = plain(batch).float()
        hide_seen(scores, batch)
        best = scores.topk(min(pool, scores.shape[1] - 1), dim=1)
        ordered = torch.full_like(scores, -torch.inf)
        for row, (values, items) in enumerate(zip(best.values.numpy(), best.indices.numpy(), strict=True)):
            n = int(np.isfinite(values).sum())
            given = Candidates(items[:n] - 1, values[:n].astype(float), np.arange(n), np.ones(n))
            places = rule(given, Occasion(table, K, [], 0.0, draw, {})).order
            ordered[row, items[places]] = torch.arange(n, 0, -1).float()
        return ordered

    return scores_of


def _draw(found: Sequence[tuple[float, float, float]], path: Path, dataset: Dataset) -> None:
    with require_extra("insights"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.plot([each[2] for each in found], [each[1] for each in found], "o-")
    for relevance, ndcg, diversity in found:
        axes.annotate(f"{relevance:g}", (diversity, ndcg), textcoords="offset points", xytext=(5, 5))
    axes.set(xlabel="diversity@10", ylabel="ndcg@10", title=f"{dataset.metadata['name']}: relevance from 1 down")
    axes.grid(alpha=0.3)
    figure.savefig(path)
