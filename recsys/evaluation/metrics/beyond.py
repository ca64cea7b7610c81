"""What the lists are like beyond accuracy, as torchmetrics classes on the recommended items.

B users, K list length, I items, C = I + 1 counts, W values of an item at most. Items are 1..I; 0 is an empty
slot. Each metric but diversity is a function of how often each item was recommended and how often consumed in
training: O(I) memory.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics import Metric, MetricCollection

Counts = Int[Tensor, "C"]
Codes = Int[Tensor, "C _"]  # columns differ in W
Scalar = Float[Tensor, ""]


class ListMetric(Metric):
    """A function of the first k items of every list; raises ValueError for k < 1."""

    is_differentiable = False
    full_state_update = False
    short_name: ClassVar[str]

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"k of {self.short_name} is {k}; give the length of a list, at least 1")
        self.k = k

    @property
    def name(self) -> str:
        """The name in reports, such as "coverage@10"."""
        return f"{self.short_name}@{self.k}"

    def shown(self, items: Int[Tensor, "B K"], known: str, n_items: int) -> Int[Tensor, "B k"]:
        """The first k items of each list; raises ValueError for an item that the argument `known` does not know."""
        shown = items[:, : self.k]
        if shown.numel() and (shown.min() < 0 or shown.max() > n_items):
            raise ValueError(
                f"items recommended run from {shown.min()} to {shown.max()}; "
                f"{known} knows 0 to {n_items}: give both from one catalogue"
            )
        return shown


class CountMetric(ListMetric):
    """A function of how often each item is shown; NaN where nothing was recommended, coverage apart.

    `item_counts` (C,) are the training events of each item, 0 for the padding item. Raises ValueError for
    k < 1 and for counts that are negative, none, or given to the padding item.
    """

    item_counts: Tensor
    recommended: Tensor

    def __init__(self, item_counts: Counts, k: int, **kwargs: Any) -> None:
        super().__init__(k, **kwargs)
        _check(item_counts)
        self.register_buffer("item_counts", item_counts.long(), persistent=False)
        self.add_state("recommended", torch.zeros_like(self.item_counts), dist_reduce_fx="sum")

    def update(self, items: Int[Tensor, "B K"]) -> None:
        """Adds the lists of B users, best item first; raises ValueError for an item outside 0..I."""
        n_items = len(self.item_counts) - 1
        shown = self.shown(items, "item_counts", n_items).flatten()
        self.recommended += torch.bincount(shown, minlength=n_items + 1)
        self.recommended[0] = 0


class Coverage(CountMetric):
    """The share of the I items recommended to anyone. Ge et al., RecSys 2010."""

    short_name = "coverage"
    higher_is_better = True

    def compute(self) -> Scalar:
        """The share, in [0, 1]; ()."""
        return (self.recommended[1:] > 0).float().mean()


class Novelty(CountMetric):
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


class Gini(CountMetric):
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


class PopularityLift(CountMetric):
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


class Diversity(ListMetric):
    """How unlike the items of a list are: the mean distance of its pairs, then the mean over lists.

    The distance of two items is 1 - the Jaccard overlap of their sets of values, averaged over `categories`:
    codes (C, W) for each column, padded with 0. An item without a value overlaps with none; lists shorter than
    two items are left out. Raises ValueError for no column. Ziegler et al., WWW 2005.
    """

    short_name = "diversity"
    higher_is_better = True
    codes: Tensor
    total: Tensor
    n_lists: Tensor

    def __init__(self, categories: Sequence[Codes], k: int, **kwargs: Any) -> None:
        super().__init__(k, **kwargs)
        if not categories:
            raise ValueError("categories holds no column; give the codes of at least one item feature")
        self.widths = [codes.shape[1] for codes in categories]
        self.register_buffer("codes", torch.cat([_distinct(codes) for codes in categories], dim=1), persistent=False)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_lists", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, items: Int[Tensor, "B K"]) -> None:
        """Adds the lists of B users, best item first, in O(B k² W) memory; raises ValueError for items outside 0..I."""
        shown = self.shown(items, "categories", len(self.codes) - 1)
        filled = shown > 0
        pairs = (filled[:, :, None] & filled[:, None, :]).triu(1)
        columns = torch.split(self.codes[shown], self.widths, dim=2)
        overlap = torch.stack([_jaccard(sets) for sets in columns]).mean(dim=0)
        n_pairs = pairs.sum(dim=(1, 2))
        distance = ((1 - overlap) * pairs).sum(dim=(1, 2)) / n_pairs.clamp(min=1)
        self.total += distance.sum()
        self.n_lists += (n_pairs > 0).sum()

    def compute(self) -> Scalar:
        """The mean, in [0, 1]; NaN where no list has two items; ()."""
        return (self.total / self.n_lists).float()


BEYOND: tuple[type[CountMetric], ...] = (Coverage, Novelty, Gini, PopularityLift)


def beyond_metrics(item_counts: Counts, ks: Sequence[int], categories: Sequence[Codes] = ()) -> MetricCollection:
    """Every list metric at every k, by name; diversity where there are `categories` and k is above 1.

    Raises ValueError as `CountMetric` and `Diversity` do.
    """
    metrics: list[ListMetric] = [kind(item_counts, k) for kind in BEYOND for k in ks]
    metrics += [Diversity(categories, k) for k in ks if categories and k > 1]
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


def _distinct(codes: Int[Tensor, "C W"]) -> Int[Tensor, "C W"]:
    """Each row's codes, what came before set to 0."""
    ordered = codes.sort(dim=1).values
    again = ordered[:, 1:] == ordered[:, :-1]
    return torch.cat([ordered[:, :1], ordered[:, 1:].masked_fill(again, 0)], dim=1)


def _jaccard(sets: Int[Tensor, "B k W"]) -> Float[Tensor, "B k k"]:
    """The size of the intersection of every two sets of a list over that of their union; 0 is no member."""
    size = (sets > 0).sum(dim=2)
    common = torch.zeros(*size.shape, size.shape[1], dtype=size.dtype, device=size.device)
    for member in sets.unbind(dim=2):
        common += ((member[:, :, None, None] == sets[:, None]) & (sets[:, None] > 0)).sum(dim=3)
    return common / (size[:, :, None] + size[:, None, :] - common).clamp(min=1)
