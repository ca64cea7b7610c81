"""Full-catalogue evaluation of any scorer; the same code ranks models, baselines and exported files.

B users, U distinct users, R rows of batches, I items with padding, T targets per user (padded), K list length.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import MetricCollection

from recsys.data.batches.batch import Batch
from recsys.data.dataset import Dataset
from recsys.errors import DataError
from recsys.evaluation.metrics.beyond_accuracy import beyond_metrics
from recsys.evaluation.metrics.ranking import ranking_metrics
from recsys.evaluation.metrics.segments import SegmentedRanking
from recsys.evaluation.metrics.stats import bootstrap_interval
from recsys.evaluation.scoring import Scorer, hide_seen, pad_rows, rank_targets

BLOCK = 1024
"""rows collected before an update of the metrics, because an update takes as long for a few rows as for many"""


@dataclass
class Ranking:
    """Metrics over all rows, the value of each user, and confidence intervals of the means over users."""

    k: int
    """the list length that tables show: 10 if it is among `ks`, else the longest"""
    metrics: dict[str, float]
    warm: dict[str, float]
    """metrics without the targets that were unknown in training"""
    intervals: dict[str, tuple[float, float]]
    per_user: dict[str, np.ndarray] = field(repr=False)
    """metric → (U,); rows of the same user are combined by `average_by_user`"""
    n_users: int
    n_targets: int
    n_cold_targets: int
    segments: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """column → value → metrics, `n_users` and `n_targets`; for an item column only targets with that value count"""
    users: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    """(U,) the users of `per_user`, in the same order"""


class _Block(NamedTuple):
    ranks: Int[Tensor, "B T"]
    warm_ranks: Int[Tensor, "B T"]
    """ranks of targets that are not cold, 0 for the others"""
    lists: Int[Tensor, "B K"]


class _Evaluation:
    """Updates every metric block by block, and summarizes them as a Ranking."""

    def __init__(self, dataset: Dataset, ks: tuple[int, ...]) -> None:
        self.ks, self.n_items = ks, dataset.n_items
        self.ranking, self.warm = _by_name(ranking_metrics(ks)), _by_name(ranking_metrics(ks))
        self.beyond = _by_name(beyond_metrics(_to_tensor(dataset.item_counts), ks, _item_categories(dataset)))
        self.segments = {
            column: SegmentedRanking(values, _to_tensor(codes), ks)
            for column, (values, codes) in dataset.segments().items()
        }
        self.users: list[np.ndarray] = []
        self.n_rows = self.n_targets = self.n_cold_targets = 0

    def rank(self, scores: Float[Tensor, "B I"], batch: Batch) -> _Block:
        """The ranks and lists of a batch; also updates the counts and the segments."""
        hide_seen(scores, batch)
        ranks = rank_targets(scores, batch, self.n_items)
        cold = pad_rows(batch.targets > self.n_items, batch)
        for column, segmented in self.segments.items():
            segmented.update(ranks, _segment_rows(column, batch, ranks))
        rows = self.n_rows + np.arange(len(ranks))
        self.users.append(rows if batch.users is None else batch.users.cpu().numpy())
        self.n_rows += len(ranks)
        self.n_targets += int((ranks > 0).sum())
        self.n_cold_targets += int(cold.sum())
        top = scores.topk(max(self.ks), dim=1)
        return _Block(ranks, ranks.masked_fill(cold, 0), top.indices.masked_fill(top.values.isneginf(), 0))

    def update(self, block: _Block) -> None:
        """Update the metrics over all rows."""
        has_warm = (block.warm_ranks > 0).any(dim=1)
        for name in self.ranking:
            self.ranking[name].update(block.ranks)
            if has_warm.any():
                self.warm[name].update(block.warm_ranks[has_warm])
        for metric in self.beyond.values():
            metric.update(block.lists)

    def summarize(self) -> Ranking:
        """The ranking over all blocks."""
        users, rows = distinct_users(np.concatenate(self.users))
        per_user = {name: average_by_user(metric.per_user.numpy(), rows) for name, metric in self.ranking.items()}
        return Ranking(
            k=10 if 10 in self.ks else max(self.ks),
            metrics={name: float(metric.compute()) for name, metric in {**self.ranking, **self.beyond}.items()},
            warm={name: float(metric.compute()) for name, metric in self.warm.items() if len(metric.values)},
            intervals={name: bootstrap_interval(values) for name, values in per_user.items()},
            per_user=per_user,
            n_users=len(users),
            n_targets=self.n_targets,
            n_cold_targets=self.n_cold_targets,
            segments={column: segmented.compute() for column, segmented in self.segments.items()},
            users=users,
        )


@torch.inference_mode()
def evaluate_scorer(
    scorer: Scorer, dataset: Dataset, batches: Iterable[Batch], ks: tuple[int, ...] = (5, 10, 20)
) -> Ranking:
    """The ranking of every user's targets among all items; ties count against the model, and rows have equal weight.

    Raises FloatingPointError if a score is NaN, DataError if no user has a target.
    """
    evaluation = _Evaluation(dataset, ks)
    blocks = (evaluation.rank(scorer(batch).float().cpu(), batch) for batch in batches)
    for block in _join_blocks(blocks):
        evaluation.update(block)
    if not evaluation.users:
        raise DataError("no user has a target in this part; use another split")
    return evaluation.summarize()


def distinct_users(rows: Int[np.ndarray, "R"]) -> tuple[Int[np.ndarray, "U"], Int[np.ndarray, "R"]]:
    """The distinct users of rows in the order of their first row, and for each row the index of its user."""
    users, first, index = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return users[order], position[index]


def average_by_user(values: Float[np.ndarray, "R"], rows: Int[np.ndarray, "R"]) -> Float[np.ndarray, "U"]:
    """One value per user; their mean is the mean over rows.

    A user with one row keeps its value. Otherwise each user gets its contribution to the mean over rows,
    M + Σ (x − M) / (mean rows per user), so that the bootstrap over users estimates the uncertainty of that mean
    (delta method for ratios; Deng et al., 2018).
    """
    counts = np.bincount(rows)
    if (counts == 1).all():
        return values
    mean = values.mean(dtype=np.float64)
    contributions: np.ndarray = mean + np.bincount(rows, values - mean) / counts.mean()
    return contributions


def _join_blocks(blocks: Iterable[_Block]) -> Iterator[_Block]:
    """Joins consecutive blocks of the same width until they have BLOCK rows."""
    waiting: list[_Block] = []
    for block in blocks:
        n_waiting = sum(len(other.ranks) for other in waiting)
        if waiting and (block.ranks.shape[1] != waiting[0].ranks.shape[1] or n_waiting >= BLOCK):
            yield _concatenate(waiting)
            waiting = []
        waiting.append(block)
    if waiting:
        yield _concatenate(waiting)


def _concatenate(blocks: list[_Block]) -> _Block:
    return _Block(*(torch.cat(columns) for columns in zip(*blocks, strict=True)))


def _by_name(metrics: MetricCollection) -> dict[str, Any]:
    return {str(name): metric for name, metric in metrics.items()}


def _item_categories(dataset: Dataset) -> list[Int[Tensor, "I _"]]:
    encoders, features = dataset.encoders["item"], dataset.features("item")
    names = [name for name, encoder in encoders.items() if encoder.kind == "category"]
    return [_to_tensor(features[name][: dataset.n_items + 1]) for name in names]


def _segment_rows(column: str, batch: Batch, ranks: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """For each target its row in the table of a segment column: the row of the target or of its user."""
    if column.startswith("item."):
        return pad_rows(batch.targets, batch)
    assert batch.users is not None, f"segments by {column} need batches that name the user of each row"
    return (batch.users.cpu() + 1)[:, None].expand_as(ranks)


def _to_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array))
