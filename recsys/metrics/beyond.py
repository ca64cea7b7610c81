"""What the lists are like beyond accuracy, as torchmetrics classes on the recommended items.

B users, K list length, I items, C = I + 1 counts. Items are 1..I; 0 is an empty slot. Each metric
is a function of how often each item was recommended and how often consumed in training: O(I) memory.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric, MetricCollection

Counts = Int[Tensor, "C"]
Scalar = Float[Tensor, ""]


class ListMetric(Metric):
    """A function of the first k items of every list; NaN where nothing was recommended, coverage apart.

    `item_counts` (C,) are the training events of each item, 0 for the padding item. Raises ValueError for
    k < 1 and for counts that are negative, none, or given to the padding item.
    """

    is_differentiable = False
    full_state_update = False
    short_name: ClassVar[str]
    item_counts: Tensor
    recommended: Tensor

    def __init__(self, item_counts: Counts, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"k of {self.short_name} is {k}; give the length of a list, at least 1")
        _check(item_counts)
        self.k = k
        self.register_buffer("item_counts", item_counts.long(), persistent=False)
        self.add_state("recommended", torch.zeros_like(self.item_counts), dist_reduce_fx="sum")

    @property
    def name(self) -> str:
        """The name in reports, such as "coverage@10"."""
        return f"{self.short_name}@{self.k}"

    def update(self, items: Int[Tensor, "B K"]) -> None:
        """Adds the lists of B users, best item first; raises ValueError for an item outside 0..I."""
        shown = items[:, : self.k].flatten()
        n_items = len(self.item_counts) - 1
        if len(shown) and (shown.min() < 0 or shown.max() > n_items):
            raise ValueError(
                f"items recommended run from {shown.min()} to {shown.max()}; "
                f"item_counts knows 0 to {n_items}: give both from one catalogue"
            )
        self.recommended += torch.bincount(shown, minlength=n_items + 1)
        self.recommended[0] = 0


class Coverage(ListMetric):
    """The share of the I items recommended to anyone. Ge et al., RecSys 2010."""

    short_name = "coverage"
    higher_is_better = True

    def compute(self) -> Scalar:
        """The share, in [0, 1]; ()."""
        return (self.recommended[1:] > 0).float().mean()


class Novelty(ListMetric):
    """The mean self-information of a recommended item, in bits: -log2((c + 1) / (sum of c + I)).

    c are its training events; the 1 keeps an item without any finite. Zhou et al., PNAS 2010.
    """

    short_name = "novelty"
    higher_is_better = True

    def compute(self) -> Scalar:
        """The mean over filled slots, in bits; ()."""
        smoothed = self.item_counts[1:] + 1
        bits = -torch.log2(smoothed / smoothed.sum())
        return (self.recommended[1:] * bits).sum() / self.recommended.sum()


class Gini(ListMetric):
    """How unequally the I items are recommended: 0 all alike, (I - 1) / I a single one.

    Shani & Gunawardana, Recommender Systems Handbook, 2011.
    """

    short_name = "gini"
    higher_is_better = False

    def compute(self) -> Scalar:
        """The coefficient, in [0, 1); ()."""
        counts = self.recommended[1:].sort().values
        n = len(counts)
        order = torch.arange(1, n + 1, device=counts.device)
        return ((2 * order - n - 1) * counts).sum() / (n * counts.sum())


class PopularityLift(ListMetric):
    """How much more popular the recommended items are than the consumed: 1 for as popular.

    The mean training count of a filled slot over that of a training event, (sum of c²) / (sum of c). Its
    excess over 1 is the lift of Abdollahpouri et al., RecSys 2020, there averaged by user.
    """

    short_name = "popularity_lift"
    higher_is_better = False

    def compute(self) -> Scalar:
        """The ratio, from 0 up; ()."""
        c = self.item_counts
        recommended = (self.recommended * c).sum() / self.recommended.sum()
        return recommended / ((c * c).sum() / c.sum())


BEYOND: tuple[type[ListMetric], ...] = (Coverage, Novelty, Gini, PopularityLift)


def beyond_metrics(item_counts: Counts, ks: Sequence[int]) -> MetricCollection:
    """Every list metric at every k, by name; raises ValueError as `ListMetric` does."""
    metrics = [kind(item_counts, k) for kind in BEYOND for k in ks]
    # compute groups would merge two ks for good where the first batch holds short lists
    return MetricCollection({metric.name: metric for metric in metrics}, compute_groups=False)


def _check(item_counts: Counts) -> None:
    if item_counts[0] != 0:
        raise ValueError(f"item_counts[0] is {item_counts[0]}; item 0 is padding, its count must be 0")
    if item_counts.min() < 0 or item_counts.sum() == 0:
        raise ValueError(
            f"item_counts run from {item_counts.min()} to {item_counts.max()}; "
            "give the training events of each item, at least one in all"
        )
