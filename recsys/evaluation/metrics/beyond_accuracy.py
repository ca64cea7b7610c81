"""Beyond-accuracy metrics of recommended lists as torchmetrics: coverage, novelty, Gini, popularity, diversity.

B users, K list length, I items, C = I + 1 counts, W values of an item at most. Items are 1..I; 0 is an empty
slot. All metrics except diversity depend only on how often each item was recommended and how often it occurred in
training, so they need O(I) memory.
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
    """A metric of the first k items of every list; raises ValueError for k < 1."""

    is_differentiable = False
    full_state_update = False
    short_name: ClassVar[str]

    def __init__(self, k: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"k={k} of {self.short_name} is invalid: expected a list length ≥ 1")
        self.k = k

    @property
    def name(self) -> str:
        """The name in reports, such as "coverage@10"."""
        return f"{self.short_name}@{self.k}"

    def first_items(self, items: Int[Tensor, "B K"], source: str, n_items: int) -> Int[Tensor, "B k"]:
        """The first k items of each list; raises ValueError for an item above `n_items`, the range of `source`."""
        shown = items[:, : self.k]
        if shown.numel() and (shown.min() < 0 or shown.max() > n_items):
            raise ValueError(
                f"recommended items range from {shown.min()} to {shown.max()}, but {source} covers 0 to {n_items}; "
                "use the same catalogue for both"
            )
        return shown


class CountMetric(ListMetric):
    """A metric of how often each item is recommended; NaN if nothing was recommended, except for coverage.

    `item_counts` (C,) are the training events of each item, 0 for the padding item. Raises ValueError for
    k < 1 and for counts that are negative, all zero, or not zero for the padding item.
    """

    item_counts: Tensor
    recommended: Tensor

    def __init__(self, item_counts: Counts, k: int, **kwargs: Any) -> None:
        super().__init__(k, **kwargs)
        _check_counts(item_counts)
        self.register_buffer("item_counts", item_counts.long(), persistent=False)
        self.add_state("recommended", torch.zeros_like(self.item_counts), dist_reduce_fx="sum")

    def update(self, items: Int[Tensor, "B K"]) -> None:
        """Add the lists of B users, best item first; raises ValueError for an item outside 0..I."""
        n_items = len(self.item_counts) - 1
        shown = self.first_items(items, "item_counts", n_items).flatten()
        self.recommended += torch.bincount(shown, minlength=n_items + 1)
        self.recommended[0] = 0


class Coverage(CountMetric):
    """The fraction of the I items that is recommended to anyone. Ge et al., RecSys 2010."""

    short_name = "coverage"
    higher_is_better = True

    def compute(self) -> Scalar:
        """The fraction, in [0, 1]; ()."""
        return (self.recommended[1:] > 0).float().mean()


class Novelty(CountMetric):
    """The mean self-information of a recommended item, in bits: -log2((c + 1) / (sum of c + I)).

    c is the number of its training events; the 1 keeps items without events finite. Zhou et al., PNAS 2010.
    """

    short_name = "novelty"
    higher_is_better = True

    def compute(self) -> Scalar:
        """The mean over filled slots, in bits; ()."""
        smoothed = self.item_counts[1:] + 1
        bits = -torch.log2(smoothed / smoothed.sum())
        return (self.recommended[1:] * bits).sum() / self.recommended.sum()


class Gini(CountMetric):
    """How unequally the I items are recommended: 0 if all equally often, (I - 1) / I if only one.

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
    """How much more popular recommended items are than consumed ones: 1 means equally popular.

    The mean training count of a filled slot over that of a training event, (sum of c²) / (sum of c). Minus 1
    it is the lift of Abdollahpouri et al., RecSys 2020, who average by user.
    """

    short_name = "popularity_lift"
    higher_is_better = False

    def compute(self) -> Scalar:
        """The ratio, ≥ 0; ()."""
        c = self.item_counts
        recommended = (self.recommended * c).sum() / self.recommended.sum()
        return recommended / ((c * c).sum() / c.sum())


class Diversity(ListMetric):
    """How different the items of a list are: the mean distance of its pairs, averaged over lists.

    The distance of two items is 1 - the Jaccard similarity of their sets of values, averaged over `categories`:
    codes (C, W) for each column, padded with 0. An item without a value has similarity 0 to all others; lists with
    fewer than two items are skipped. Raises ValueError without columns. Ziegler et al., WWW 2005.
    """

    short_name = "diversity"
    higher_is_better = True
    codes: Tensor
    total: Tensor
    n_lists: Tensor

    def __init__(self, categories: Sequence[Codes], k: int, **kwargs: Any) -> None:
        super().__init__(k, **kwargs)
        if not categories:
            raise ValueError("categories is empty; expected the codes of at least one item feature")
        self.widths = [codes.shape[1] for codes in categories]
        self.register_buffer("codes", torch.cat([_distinct(codes) for codes in categories], dim=1), persistent=False)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_lists", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, items: Int[Tensor, "B K"]) -> None:
        """Add the lists of B users, best item first, in O(B k² W) memory; raises ValueError for items outside 0..I."""
        shown = self.first_items(items, "categories", len(self.codes) - 1)
        filled = shown > 0
        pairs = (filled[:, :, None] & filled[:, None, :]).triu(1)
        columns = torch.split(self.codes[shown], self.widths, dim=2)
        overlap = torch.stack([_jaccard(sets) for sets in columns]).mean(dim=0)
        n_pairs = pairs.sum(dim=(1, 2))
        distance = ((1 - overlap) * pairs).sum(dim=(1, 2)) / n_pairs.clamp(min=1)
        self.total += distance.sum()
        self.n_lists += (n_pairs > 0).sum()

    def compute(self) -> Scalar:
        """The mean, in [0, 1]; NaN if no list has two items; ()."""
        return (self.total / self.n_lists).float()


BEYOND_ACCURACY: tuple[type[CountMetric], ...] = (Coverage, Novelty, Gini, PopularityLift)


def beyond_metrics(item_counts: Counts, ks: Sequence[int], categories: Sequence[Codes] = ()) -> MetricCollection:
    """Every list metric at every k, by name; diversity only with `categories` and k > 1.

    Raises ValueError as `CountMetric` and `Diversity` do.
    """
    metrics: list[ListMetric] = [metric_class(item_counts, k) for metric_class in BEYOND_ACCURACY for k in ks]
    metrics += [Diversity(categories, k) for k in ks if categories and k > 1]
    # compute groups would merge two ks for the whole run if the lists of the first batch are short
    return MetricCollection({metric.name: metric for metric in metrics}, compute_groups=False)


def _check_counts(item_counts: Counts) -> None:
    if item_counts[0] != 0:
        raise ValueError(f"item_counts[0] is {item_counts[0]}; item 0 is padding, its count must be 0")
    if item_counts.min() < 0 or item_counts.sum() == 0:
        raise ValueError(
            f"item_counts range from {item_counts.min()} to {item_counts.max()}; "
            "expected the training events of each item, at least one in total"
        )


def _distinct(codes: Int[Tensor, "C W"]) -> Int[Tensor, "C W"]:
    """The codes of each row, with repeated codes replaced by 0."""
    ordered = codes.sort(dim=1).values
    repeated = ordered[:, 1:] == ordered[:, :-1]
    return torch.cat([ordered[:, :1], ordered[:, 1:].masked_fill(repeated, 0)], dim=1)


def _jaccard(sets: Int[Tensor, "B k W"]) -> Float[Tensor, "B k k"]:
    """The Jaccard similarity of every two sets of a list; code 0 is not a member."""
    size = (sets > 0).sum(dim=2)
    common = torch.zeros(*size.shape, size.shape[1], dtype=size.dtype, device=size.device)
    for member in sets.unbind(dim=2):
        common += ((member[:, :, None, None] == sets[:, None]) & (sets[:, None] > 0)).sum(dim=3)
    return common / (size[:, :, None] + size[:, None, :] - common).clamp(min=1)
