"""Losses that compare each target with a few sampled items, which the whole batch shares.

The cost of a step depends on the number of samples, not on the size of the catalogue.

M queries, T targets, C candidates.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from recsys.config.types import Positive
from recsys.losses.inputs import LossInputs


class Negatives(NamedTuple):
    """Sampled items, sorted, and the log of the number of catalogue items that each represents.

    If an item was drawn several times, its first entry has the weight of all its draws and the others have −inf.
    """

    items: Int[Tensor, " C"]
    log_weight: Float[Tensor, " C"]


class SampledLoss(nn.Module, ABC):
    """The sum over targets of weight × `compare`; a query's own targets are never its negatives."""

    def __init__(self, n_negatives: Positive) -> None:
        super().__init__()
        self.n_negatives = n_negatives

    def forward(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """The sum of the losses of all targets."""
        # (M C) the scores of the negatives for every query, and their log weights, −inf for the query's own targets
        negatives = self.draw(inputs)
        scores = inputs.candidate_scores(negatives.items).float()
        log_weight = torch.where(mask_targets(inputs, negatives.items), -torch.inf, negatives.log_weight)
        # (T) the loss of each target against the negatives of its query
        rows, n_items = inputs.target_query, len(inputs.item_counts) - 1
        losses = self.compare(inputs.target_scores().float(), scores[rows], log_weight[rows], n_items)
        return (inputs.target_weights() * losses).sum()

    def draw(self, inputs: LossInputs) -> Negatives:
        """Negatives drawn uniformly from the catalogue; each draw has weight 1."""
        items = draw_uniform(inputs, self.n_negatives)
        return Negatives(items, count_draws(items).log())

    @abstractmethod
    def compare(
        self,
        positive: Float[Tensor, " T"],
        negative: Float[Tensor, "T C"],
        log_weight: Float[Tensor, "T C"],
        n_items: int,
    ) -> Float[Tensor, " T"]:
        """The loss of each target."""


class SampledSoftmax(SampledLoss):
    """Cross-entropy over the target and the negatives. Yi et al. (2019).

    With `log_q` each negative is weighted by the number of catalogue items it represents, so that the sum estimates
    that of the full softmax. A fraction `in_batch` of the negatives are targets of the batch, hence drawn by
    popularity; the others are drawn uniformly.
    """

    def __init__(self, n_negatives: Positive = 512, in_batch: float = 0.0, log_q: bool = True) -> None:
        super().__init__(n_negatives)
        self.in_batch, self.log_q = check_fraction("in_batch", in_batch), log_q

    @override
    def draw(self, inputs: LossInputs) -> Negatives:
        """Negatives drawn from the mixture of uniform and in-batch items, with their weights."""
        n_popular = round(self.n_negatives * self.in_batch) if len(inputs.targets) else 0
        popular = inputs.targets[_draw_integers(inputs.targets, 0, len(inputs.targets), n_popular)]
        items = torch.cat([draw_uniform(inputs, self.n_negatives - n_popular), popular]).sort().values
        weight = count_draws(items)
        if self.log_q:
            counts = inputs.item_counts
            fraction = n_popular / self.n_negatives
            q = (1 - fraction) / (len(counts) - 1) + fraction * counts[items] / counts.sum()
            weight = weight / (self.n_negatives * q)
        return Negatives(items, weight.log())

    @override
    def compare(
        self,
        positive: Float[Tensor, " T"],
        negative: Float[Tensor, "T C"],
        log_weight: Float[Tensor, "T C"],
        n_items: int,
    ) -> Float[Tensor, " T"]:
        """−log softmax of each target."""
        return torch.cat([positive[:, None], negative + log_weight], dim=1).logsumexp(dim=1) - positive


class BCE(SampledLoss):
    """Binary cross-entropy of targets and negatives. Kang & McAuley (2018) use one negative.

    The prior log odds of a target are added to the score; otherwise all vectors would mostly learn this constant.
    """

    calibration: float | None = None
    """how much of the overconfidence of sampling is corrected, from 0 to 1; None: the plain loss"""

    def __init__(self, n_negatives: Positive = 256) -> None:
        super().__init__(n_negatives)

    @override
    def compare(
        self,
        positive: Float[Tensor, " T"],
        negative: Float[Tensor, "T C"],
        log_weight: Float[Tensor, "T C"],
        n_items: int,
    ) -> Float[Tensor, " T"]:
        """−β log σ(target) − Σ log σ(−negative), divided by the number of terms; scores include prior log odds."""
        power = self.power(n_items)
        odds = math.log(power / self.n_negatives)
        terms = (F.softplus(odds + negative) * log_weight.exp()).sum(dim=1)
        return (power * F.softplus(-odds - positive) + terms) / (self.n_negatives + 1)

    def power(self, n_items: int) -> float:
        """The exponent β of the target's probability, 1 without calibration."""
        if self.calibration is None:
            return 1.0
        fraction = min(self.n_negatives / max(n_items - 1, 1), 1.0)
        return fraction * (self.calibration * (1 - 1 / fraction) + 1 / fraction)


class GBCE(BCE):
    """Binary cross-entropy that corrects the overconfidence of sampling. Petrov & Macdonald, gSASRec (2023).

    The target's probability is raised to a power: `calibration` 1 corrects fully, 0 not at all.
    """

    def __init__(self, n_negatives: Positive = 256, calibration: float = 0.75) -> None:
        super().__init__(n_negatives)
        self.calibration = check_fraction("calibration", calibration)


class BPR(SampledLoss):
    """Bayesian personalised ranking: each target against each negative. Rendle et al. (2009)."""

    def __init__(self, n_negatives: Positive = 256) -> None:
        super().__init__(n_negatives)

    @override
    def compare(
        self,
        positive: Float[Tensor, " T"],
        negative: Float[Tensor, "T C"],
        log_weight: Float[Tensor, "T C"],
        n_items: int,
    ) -> Float[Tensor, " T"]:
        """The mean over negatives of −log σ(target − negative)."""
        return (F.softplus(negative - positive[:, None]) * log_weight.exp()).sum(dim=1) / self.n_negatives


def check_fraction(name: str, value: float) -> float:
    """The value of a setting that must be a fraction; raises ValueError if it is outside [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"loss.{name}={value} is invalid: expected a number from 0 to 1")
    return value


def draw_uniform(inputs: LossInputs, n: int) -> Int[Tensor, " C"]:
    """Items drawn uniformly with replacement, sorted."""
    return _draw_integers(inputs.targets, 1, len(inputs.item_counts), n).sort().values


def count_draws(items: Int[Tensor, " C"]) -> Float[Tensor, " C"]:
    """How often each item occurs in sorted `items`, at its first entry; 0 at its other entries."""
    first = torch.searchsorted(items, items)
    counts = torch.searchsorted(items, items, right=True) - first
    return torch.where(first == torch.arange(len(items), device=items.device), counts, 0).float()


def mask_targets(inputs: LossInputs, items: Int[Tensor, " C"]) -> Bool[Tensor, "M C"]:
    """Whether each candidate, sorted by item, is a target of each query."""
    column = torch.searchsorted(items, inputs.targets).clamp(max=len(items) - 1)
    hit = (items[column] == inputs.targets).float()
    hits = hit.new_zeros(len(inputs.queries), len(items))
    return hits.index_put_((inputs.target_query, column), hit, accumulate=True) > 0


def _draw_integers(like: Tensor, low: int, high: int, n: int) -> Tensor:
    return torch.randint(low, max(high, low + 1), (n,), device=like.device)
