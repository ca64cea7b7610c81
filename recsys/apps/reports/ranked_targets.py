"""Test users ranked once more, keeping the rank of each target, so that metrics can be computed by group.

n targets, K list length.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from recsys.data.batches.batch import Batch
from recsys.data.batches.ranking import sample_rows
from recsys.data.dataset import Dataset
from recsys.evaluation.scoring import hide_seen, make_ranking_batches, rank_targets, score_batch
from recsys.models.base import Model

Array = np.ndarray


@dataclass(frozen=True)
class TargetRanks:
    """The users, items and ranks of targets: arrays (n,)."""

    users: Array
    items: Array
    ranks: Array


def select_test_users(dataset: Dataset, max_users: int, seed: int) -> Array:
    """The users with a target in the test part, in order; a sample of `max_users` where there are more."""
    return sample_rows(make_ranking_batches(dataset, "test", None).rows, max_users, seed)


@torch.inference_mode()
def rank_test_targets(model: Model, dataset: Dataset, users: Array) -> TargetRanks:
    """The ranks that a model, ready to rank the test part, gives the test targets of `users`, as
    `recsys.evaluation.scoring` computes them.
    """
    target_users, items, ranks = [], [], []
    for batch in _make_batches(model, dataset, users):
        batch_ranks = rank_targets(_score_unseen(model, batch), batch, dataset.n_items)
        assert batch.users is not None, "ranking batches name the user of each row"
        target_users.append(batch.users.numpy()[batch.target_query.numpy()])
        items.append(batch.targets.numpy())
        ranks.append(batch_ranks[batch_ranks > 0].numpy())
    return TargetRanks(np.concatenate(target_users), np.concatenate(items), np.concatenate(ranks))


@torch.inference_mode()
def recommend_lists(model: Model, dataset: Dataset, users: Array, k: int) -> dict[int, Array]:
    """The first k items (K,) for each user, by user number; fewer where fewer can be recommended."""
    lists = {}
    for batch in _make_batches(model, dataset, users):
        top = _score_unseen(model, batch).topk(k, dim=1)
        assert batch.users is not None, "ranking batches name the user of each row"
        for user, items, scores in zip(batch.users.tolist(), top.indices.numpy(), top.values, strict=True):
            lists[user] = items[~scores.isneginf().numpy()]
    return lists


def _make_batches(model: Model, dataset: Dataset, users: Array) -> Iterable[Batch]:
    return make_ranking_batches(dataset, "test", model.max_history, rows=users)


def _score_unseen(model: Model, batch: Batch) -> torch.Tensor:
    scores = score_batch(model, batch).float().cpu()
    hide_seen(scores, batch)
    return scores
