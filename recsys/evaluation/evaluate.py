"""Full-catalogue ranking of any scorer: one piece of code for models, baselines and exported files.

B users, I items with padding, T targets a user (padded), K list length.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import MetricCollection

from recsys.data.batches.batch import Batch
from recsys.data.batches.loader import Share
from recsys.data.batches.ranking import RankingBatches
from recsys.data.dataset import Dataset
from recsys.errors import DataError
from recsys.evaluation.metrics.beyond import beyond_metrics
from recsys.evaluation.metrics.ranking import ranking_metrics
from recsys.evaluation.metrics.segments import SegmentedRanking
from recsys.evaluation.metrics.stats import bootstrap_interval

Scorer = Callable[[Batch], Float[Tensor, "B I"]]
UNREACHABLE = 2**62
"""the rank of a target that cannot be recommended: it was seen, or is no candidate"""
Part = tuple[Int[Tensor, "B T"], Int[Tensor, "B T"], Int[Tensor, "B K"]]
"""ranks, ranks of targets that are not cold, lists"""
WAITING = 1024
"""users whose ranks wait for others, since an update of all metrics takes as long for few"""


@dataclass
class Ranking:
    """Metrics over all that was asked, the values of each user behind them, and intervals of the means over users."""

    k: int
    """the list length that tables show: 10 where it was asked for, else the longest"""
    metrics: dict[str, float]
    warm: dict[str, float]
    """the same without targets that were first seen after training"""
    intervals: dict[str, tuple[float, float]]
    per_user: dict[str, np.ndarray] = field(repr=False)
    """of users who were asked several times, what `by_user` makes of their answers"""
    n_users: int
    n_targets: int
    n_cold_targets: int
    segments: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """column → value → metrics, `n_users` and `n_targets`; of an item column only the targets of that value count"""
    users: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    """(U,) whose values `per_user` has, in its order"""


@torch.inference_mode()
def evaluate(scorer: Scorer, dataset: Dataset, batches: Iterable[Batch], ks: tuple[int, ...] = (5, 10, 20)) -> Ranking:
    """Every user's targets ranked among all items; an item that scores the same as a target stands above it. Each
    row of the batches counts alike.

    Raises FloatingPointError if a score is NaN, DataError if no user has a target.
    """
    everyone, warm = _named(ranking_metrics(ks)), _named(ranking_metrics(ks))
    beyond = _named(beyond_metrics(_tensor(dataset.item_counts), ks, _item_categories(dataset)))
    segments = {
        column: SegmentedRanking(values, _tensor(codes), ks) for column, (values, codes) in dataset.segments().items()
    }
    counts, asked = np.zeros(3, dtype=np.int64), []

    def ranked() -> Iterator[Part]:
        for batch in batches:
            scores = scorer(batch).float().cpu()
            hide_seen(scores, batch)
            ranks = target_ranks(scores, batch, dataset.n_items)
            cold = padded_rows(batch.target > dataset.n_items, batch)
            for column, segmented in segments.items():
                segmented.update(ranks, _rows(column, batch, ranks))
            top = scores.topk(max(ks), dim=1)
            asked.append(counts[0] + np.arange(len(ranks)) if batch.users is None else batch.users.cpu().numpy())
            counts[:] += len(ranks), int((ranks > 0).sum()), int(cold.sum())
            yield ranks, ranks.masked_fill(cold, 0), top.indices.masked_fill(top.values.isneginf(), 0)

    for ranks, warm_ranks, lists in _together(ranked()):
        some_warm = (warm_ranks > 0).any(dim=1)
        for name in everyone:
            everyone[name].update(ranks)
            if some_warm.any():
                warm[name].update(warm_ranks[some_warm])
        for metric in beyond.values():
            metric.update(lists)
    if not asked:
        raise DataError("no user has a target in this part; use another split")
    users, rows = distinct(np.concatenate(asked))
    per_user = {name: by_user(metric.per_user.numpy(), rows) for name, metric in everyone.items()}
    return Ranking(
        k=10 if 10 in ks else max(ks),
        metrics={name: float(metric.compute()) for name, metric in {**everyone, **beyond}.items()},
        warm={name: float(metric.compute()) for name, metric in warm.items() if len(metric.values)},
        intervals={name: bootstrap_interval(values) for name, values in per_user.items()},
        per_user=per_user,
        n_users=len(users),
        n_targets=int(counts[1]),
        n_cold_targets=int(counts[2]),
        segments={column: segmented.compute() for column, segmented in segments.items()},
        users=users,
    )


def distinct(asked: Int[np.ndarray, "R"]) -> tuple[Int[np.ndarray, "U"], Int[np.ndarray, "R"]]:
    """The users who were asked, in the order of their first row, and for each row which of them it is."""
    users, first, rows = np.unique(asked, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return users[order], place[rows]


def by_user(values: Float[np.ndarray, "R"], rows: Int[np.ndarray, "R"]) -> Float[np.ndarray, "U"]:
    """A value a user whose mean over users is that of all answers: the answer of who was asked once; else what the
    user adds to the mean over answers, M + Σ (x − M) / (answers a user), so that bootstrapping users tells how sure
    that mean is (Deng et al., 2018: the delta method for ratios).
    """
    counts = np.bincount(rows)
    if (counts == 1).all():
        return values
    mean = values.mean(dtype=np.float64)
    added: np.ndarray = mean + np.bincount(rows, values - mean) / counts.mean()
    return added


def _together(parts: Iterable[Part]) -> Iterator[Part]:
    """Parts of the same width, joined until they are many."""
    waiting: list[Part] = []
    for part in parts:
        if waiting and (part[0].shape[1] != waiting[0][0].shape[1] or sum(len(own[0]) for own in waiting) >= WAITING):
            yield _joined(waiting)
            waiting = []
        waiting.append(part)
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Part]) -> Part:
    ranks, warm, lists = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return ranks, warm, lists


def _named(metrics: MetricCollection) -> dict[str, Any]:
    return {str(name): metric for name, metric in metrics.items()}


def _item_categories(dataset: Dataset) -> list[Int[Tensor, "I _"]]:
    encoders, features = dataset.encoders["item"], dataset.features("item")
    return [_tensor(features[name][: dataset.n_items + 1]) for name, e in encoders.items() if e.kind == "category"]


def _rows(column: str, batch: Batch, ranks: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """For each target the row of a segment column's table: that of the target, or of its user."""
    if column.startswith("item."):
        return padded_rows(batch.target, batch)
    assert batch.users is not None, f"segments by {column} need batches that say whose rows they are"
    return (batch.users.cpu() + 1)[:, None].expand_as(ranks)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array))


def ranking_batches(
    dataset: Dataset,
    part: str,
    max_history: int | None,
    share: Share = Share(),  # noqa: B008 - frozen
    budget: int = 2_000_000,
) -> RankingBatches:
    """Batches of users so large that their scores stay within `budget` numbers."""
    return RankingBatches(dataset, part, int(np.clip(budget // (dataset.n_items + 1), 1, 256)), max_history, share)


def hide_seen(scores: Float[Tensor, "B I"], batch: Batch) -> None:
    """Set the scores of items to leave out to −inf; FloatingPointError if any score is NaN."""
    if scores.isnan().any():
        raise FloatingPointError("the model scores NaN; it has diverged: lower the learning rate")
    if batch.seen is not None:
        scores[batch.seen[0].cpu(), batch.seen[1].cpu()] = -torch.inf


def target_ranks(scores: Float[Tensor, "B I"], batch: Batch, n_items: int, chunk: int = 1024) -> Int[Tensor, "B T"]:
    """1-based ranks, 0 = padding: the number of items that score at least as high as the target."""
    target, row = batch.target.cpu(), batch.target_query.cpu()
    ranks = torch.empty_like(target)
    for start in range(0, len(target), chunk):
        part = slice(start, start + chunk)
        own = scores[row[part], target[part].clamp(max=n_items)]
        rank = (scores[row[part]] >= own[:, None]).sum(dim=1)
        lost = own.isneginf() | (target[part] > n_items)
        ranks[part] = rank.masked_fill(lost, UNREACHABLE)
    return padded_rows(ranks, batch)


def padded_rows(values: Tensor, batch: Batch) -> Tensor:
    """Values of targets as one row a user, padded with 0."""
    row = batch.target_query.cpu()
    counts = torch.bincount(row, minlength=len(batch.history))
    place = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    out = values.new_zeros(len(counts), int(counts.max()))
    out[row, place] = values.cpu()
    return out
