"""The test users ranked once more, each target kept apart, so that figures can be taken to pieces.

n targets, T of one user, K list length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from recsys.data.batches.batch import Batch
from recsys.data.batches.ranking import sample_rows
from recsys.data.dataset import Dataset
from recsys.evaluation.metrics.ranking import ndcg
from recsys.evaluation.metrics.stats import bootstrap_interval
from recsys.evaluation.scoring import hide_seen, make_ranking_batches, rank_targets, score_batch
from recsys.models.base import Model

Array = np.ndarray
Json = dict[str, Any]
THIRDS = ("most popular third", "middle third", "least popular third")


@dataclass(frozen=True)
class Ranked:
    """Whose targets (n,) which items are, and the ranks that a model gives them."""

    users: Array
    items: Array
    ranks: Array


def test_users(dataset: Dataset, most: int, seed: int) -> Array:
    """Those with a target in the test part, or `most` of them drawn by the seed, in order."""
    return sample_rows(make_ranking_batches(dataset, "test", None).rows, most, seed)


@torch.inference_mode()
def rank(model: Model, dataset: Dataset, users: Array, max_history: int | None) -> Ranked:
    """The ranks of the targets of some test users, by the rules of `evaluation.evaluate`."""
    whose, items, ranks = [], [], []
    for batch in _batches(dataset, users, max_history):
        scores = _scores(model, batch)
        found = rank_targets(scores, batch, dataset.n_items)
        assert batch.users is not None, "ranking batches say whose rows they are"
        whose.append(batch.users.numpy()[batch.target_query.numpy()])
        items.append(batch.target.numpy())
        ranks.append(found[found > 0].numpy())
    return Ranked(np.concatenate(whose), np.concatenate(items), np.concatenate(ranks))


@torch.inference_mode()
def lists(model: Model, dataset: Dataset, users: Array, max_history: int | None, k: int) -> dict[int, Array]:
    """The first k items (K,) for each of some users, by their numbers; fewer where fewer can be recommended."""
    found = {}
    for batch in _batches(dataset, users, max_history):
        top = _scores(model, batch).topk(k, dim=1)
        assert batch.users is not None, "ranking batches say whose rows they are"
        for user, row, scores in zip(batch.users.tolist(), top.indices.numpy(), top.values, strict=True):
            found[user] = row[~scores.isneginf().numpy()]
    return found


def fitted(model: Model, dataset: Dataset, config: DictConfig) -> tuple[Model, int | None]:  # noqa: ARG001
    """The model as it is compared on the test part, and how long a history it reads."""
    model.fit(dataset, "test")
    return model.eval(), model.max_history


def by_popularity(dataset: Dataset, items: Array) -> tuple[list[str], Array]:
    """Thirds of the training events, the most popular items first, and which of them (n,) each item is in."""
    order = np.argsort(-dataset.item_counts[1:], kind="stable") + 1
    reached = np.cumsum(dataset.item_counts[order]) - dataset.item_counts[order]
    third = np.full(max(int(dataset.items.max()), dataset.n_items) + 1, len(THIRDS))
    third[order] = np.minimum(reached * len(THIRDS) // max(int(dataset.item_counts.sum()), 1), len(THIRDS) - 1)
    sizes = np.bincount(third[1:], minlength=len(THIRDS) + 1)
    names = [f"{name} ({n:,} items)" for name, n in zip(THIRDS, sizes, strict=False)]
    return [*names, f"new since training ({sizes[-1]:,} items)"], third[items]


def by_history(dataset: Dataset, users: Array) -> tuple[list[str], Array]:
    """Quarters of the users by their events before the test part, and which of them (n,) each user is in."""
    everyone = np.unique(users)
    length = dataset.bounds[:, 1] - dataset.offsets[:-1]
    edges = np.unique(np.quantile(length[everyone], [0.25, 0.5, 0.75], method="lower"))
    tops = [*edges[edges < length[everyone].max()].tolist(), int(length[everyone].max())]
    bottoms = [int(length[everyone].min()), *(int(top) + 1 for top in tops[:-1])]
    names = [
        f"{low:,}-{top:,} events" if low < top else f"{top:,} events" for low, top in zip(bottoms, tops, strict=True)
    ]
    return names, np.searchsorted(tops, length[users])


def segmented(found: Ranked, names: Sequence[str], of_target: Array, k: int, fewest: int) -> list[Json]:
    """For each segment of at least `fewest` users their number and NDCG, of their targets in it alone, with its 95 %
    interval; of smaller ones the name alone.
    """
    rows = []
    for number, name in enumerate(names):
        own = of_target == number
        values = per_user(found.users[own], found.ranks[own], k)
        row: Json = {"segment": name, "users": len(values), "targets": int(own.sum())}
        if len(values) >= fewest:
            low, high = bootstrap_interval(values)
            row |= {"ndcg": float(values.mean()), "low": low, "high": high}
        elif len(values):
            row = {"segment": name, "users": f"< {fewest}"}
        if len(values):
            rows.append(row)
    return rows


def per_user(users: Array, ranks: Array, k: int) -> Array:
    """(U,) the NDCG of each of the distinct users, in their order."""
    _, row, counts = np.unique(users, return_inverse=True, return_counts=True)
    order = np.argsort(row, kind="stable")
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.zeros((len(counts), int(counts.max(initial=1))), dtype=np.int64)
    table[row[order], place] = ranks[order]
    return ndcg(torch.from_numpy(table), k).double().numpy()


def _batches(dataset: Dataset, users: Array, max_history: int | None) -> Any:
    return make_ranking_batches(dataset, "test", max_history, rows=users)


def _scores(model: Model, batch: Batch) -> torch.Tensor:
    scores = score_batch(model, batch).float().cpu()
    hide_seen(scores, batch)
    return scores
