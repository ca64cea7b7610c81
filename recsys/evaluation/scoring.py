"""Scores of batches, and the ranks of targets among all items.

B users, I items with padding, T targets per user (padded).
"""

from collections.abc import Callable
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.data.batches.batch import Batch
from recsys.data.batches.loader import Shard
from recsys.data.batches.ranking import RankingBatches
from recsys.data.dataset import Dataset
from recsys.models.base import Model

Scorer = Callable[[Batch], Float[Tensor, "B I"]]
UNREACHABLE = 2**62
"""rank of a target that cannot be recommended, because the user already had it or it is not a candidate"""


def make_scorer(model: Model) -> Scorer:
    """A function from a batch to its scores (B, I), on the model's device; it is valid until the model changes.

    It never computes in bfloat16, because ties would worsen ranks.
    """
    tensors = chain(model.parameters(), model.buffers())
    device = next((tensor.device.type for tensor in tensors), "cpu")
    with torch.no_grad(), torch.autocast(device, enabled=False):
        score_inputs = model.make_scorer()

    def score(batch: Batch) -> Tensor:
        with torch.autocast(batch.history.device.type, enabled=False):
            return score_inputs(batch.inputs)

    return score


def score_batch(model: Model, batch: Batch) -> Float[Tensor, "B I"]:
    """The scores of one batch."""
    return make_scorer(model)(batch)


def make_ranking_batches(
    dataset: Dataset,
    part: str,
    max_history: int | None,
    shard: Shard = Shard(),  # noqa: B008 - frozen
    rows: np.ndarray | None = None,
    budget: int = 2_000_000,
) -> RankingBatches:
    """Batches of users, as large as `budget` scores in memory allow; `rows` selects users (None: all)."""
    batch_size = int(np.clip(budget // (dataset.n_items + 1), 1, 256))
    return RankingBatches(dataset, part, batch_size, max_history, shard, rows)


def hide_seen(scores: Float[Tensor, "B I"], batch: Batch) -> None:
    """Set the scores of items that the user already had to −inf; FloatingPointError if any score is NaN."""
    if scores.isnan().any():
        raise FloatingPointError("the model's scores are NaN: training has diverged; lower the learning rate")
    if batch.seen is not None:
        scores[batch.seen[0].cpu(), batch.seen[1].cpu()] = -torch.inf


def rank_targets(scores: Float[Tensor, "B I"], batch: Batch, n_items: int, chunk: int = 1024) -> Int[Tensor, "B T"]:
    """1-based ranks, 0 = padding: the number of items that score at least as high as the target."""
    targets, row = batch.targets.cpu(), batch.target_query.cpu()
    ranks = torch.empty_like(targets)
    for start in range(0, len(targets), chunk):
        window = slice(start, start + chunk)
        target_scores = scores[row[window], targets[window].clamp(max=n_items)]
        rank = (scores[row[window]] >= target_scores[:, None]).sum(dim=1)
        unreachable = target_scores.isneginf() | (targets[window] > n_items)
        ranks[window] = rank.masked_fill(unreachable, UNREACHABLE)
    return pad_rows(ranks, batch)


def pad_rows(values: Tensor, batch: Batch) -> Tensor:
    """Values of targets as one row per user, padded with 0."""
    row = batch.target_query.cpu()
    counts = torch.bincount(row, minlength=len(batch.history))
    column = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    padded = values.new_zeros(len(counts), int(counts.max()))
    padded[row, column] = values.cpu()
    return padded
