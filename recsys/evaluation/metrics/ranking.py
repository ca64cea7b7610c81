"""Ranking metrics: functions of the ranks with one value per user, and torchmetrics classes based on them.

B users, T targets per user (padded), K list length `k`, U users in total. Ranks start at 1 and count the full
catalogue; 0 is padding, and a target that cannot be recommended has a rank beyond any k. Every user has a target.
Tied targets share the worse rank, so the j-th best rank is never below j, and every value is in [0, 1].
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.utilities import dim_zero_cat

Ranks = Int[Tensor, "B T"]
Values = Float[Tensor, "B"]


def hr(ranks: Ranks, k: int) -> Values:
    """1 for each user with a target among the first k, else 0; (B,)."""
    return _hits(ranks, k).any(dim=1).float()


def recall(ranks: Ranks, k: int) -> Values:
    """The fraction of each user's targets among the first k; (B,). Manning et al., 2008, section 8.3."""
    return _hits(ranks, k).sum(dim=1) / _n_relevant(ranks)


def precision(ranks: Ranks, k: int) -> Values:
    """The fraction of the first k positions that hold a target; (B,). Manning et al., 2008, section 8.3."""
    return _hits(ranks, k).sum(dim=1) / k


def ndcg(ranks: Ranks, k: int) -> Values:
    """The discounted cumulative gain of the first k positions over the best possible one, with gains 0 or 1; (B,).

    The best list starts with min(targets, k) targets. Järvelin & Kekäläinen, 2002.
    """
    gains = (1 / torch.log2(ranks + 1.0)).where(_hits(ranks, k), 0.0)
    positions = torch.arange(1, k + 1, device=ranks.device)
    ideal = (1 / torch.log2(positions + 1.0)).cumsum(dim=0)
    return gains.sum(dim=1) / ideal[_n_relevant(ranks).clamp(max=k) - 1]


def mrr(ranks: Ranks, k: int) -> Values:
    """1 / the best rank if it is at most k, else 0; (B,). Voorhees, TREC-8, 1999."""
    return (1 / ranks).where(_hits(ranks, k), 0.0).amax(dim=1)


def average_precision(ranks: Ranks, k: int) -> Values:
    """The precision at each hit among the first k, summed over min(targets, k); (B,).

    The j-th hit, at rank r, adds j / r (at most 1). Manning et al., 2008, section 8.4, cut at k.
    """
    ordered = ranks.where(ranks > 0, torch.iinfo(ranks.dtype).max).sort(dim=1).values
    order = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
    precisions = (order / ordered).clamp(max=1).where(_hits(ordered, k), 0.0)
    return precisions.sum(dim=1) / _n_relevant(ranks).clamp(max=k)


def _hits(ranks: Ranks, k: int) -> Bool[Tensor, "B T"]:
    return (ranks > 0) & (ranks <= k)


def _n_relevant(ranks: Ranks) -> Int[Tensor, "B"]:
    return (ranks > 0).sum(dim=1)


class RankingMetric(Metric):
    """The mean over users of a function of their ranks; raises ValueError for k < 1."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    short_name: ClassVar[str]
    function: ClassVar["staticmethod[[Tensor, int], Tensor]"]
    values: list[Tensor] | Tensor

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"k={k} of {self.short_name} is invalid: expected a list length ≥ 1")
        self.k = k
        self.add_state("values", default=[], dist_reduce_fx="cat")

    @property
    def name(self) -> str:
        """The name in reports, such as "ndcg@10"."""
        return f"{self.short_name}@{self.k}"

    @property
    def per_user(self) -> Float[Tensor, "U"]:
        """The value of every user so far, in the order of the updates; (U,)."""
        return dim_zero_cat(self.values)

    def update(self, ranks: Ranks) -> None:
        """Add B users by the ranks of their targets."""
        assert isinstance(self.values, list), "update between sync and unsync"
        self.values.append(self.function(ranks, self.k))

    def compute(self) -> Float[Tensor, ""]:
        """The mean over users; ()."""
        return self.per_user.mean()


class NDCG(RankingMetric):
    """The mean of `ndcg`."""

    short_name = "ndcg"
    function = staticmethod(ndcg)


class HitRate(RankingMetric):
    """The mean of `hr`."""

    short_name = "hr"
    function = staticmethod(hr)


class Recall(RankingMetric):
    """The mean of `recall`."""

    short_name = "recall"
    function = staticmethod(recall)


class Precision(RankingMetric):
    """The mean of `precision`."""

    short_name = "precision"
    function = staticmethod(precision)


class MRR(RankingMetric):
    """The mean of `mrr`."""

    short_name = "mrr"
    function = staticmethod(mrr)


class MAP(RankingMetric):
    """The mean of `average_precision`."""

    short_name = "map"
    function = staticmethod(average_precision)


RANKING: tuple[type[RankingMetric], ...] = (NDCG, HitRate, Recall, Precision, MRR, MAP)


def ranking_metrics(ks: Sequence[int]) -> MetricCollection:
    """Every ranking metric at every k, by name; raises ValueError for k < 1."""
    metrics = [metric_class(k) for metric_class in RANKING for k in ks]
    # compute groups would merge metrics that agree on the first batch, as hr and recall do if T is 1
    return MetricCollection({metric.name: metric for metric in metrics}, compute_groups=False)
