"""Test users ranked once more, keeping the rank of each target, so that metrics can be computed by group.

n targets, K list length.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from omegaconf import DictConfig

from recsys.data.batches.batch import Batch
from recsys.data.dataset import Dataset
from recsys.evaluation.evaluate import hide_seen, ranking_batches, target_ranks
from recsys.models.base import ClosedForm, Model
from recsys.training.module import score

Array = np.ndarray


@dataclass(frozen=True)
class TargetRanks:
    """The users, items and ranks of targets: arrays (n,)."""

    users: Array
    items: Array
    ranks: Array


def select_test_users(dataset: Dataset, max_users: int, seed: int) -> Array:
    """The users with a target in the test part, in order; a sample of `max_users` where there are more."""
    users: Array = ranking_batches(dataset, "test", None).users
    if len(users) <= max_users:
        return users
    return np.sort(np.random.default_rng(seed).choice(users, max_users, replace=False))


@torch.inference_mode()
def rank_targets(model: Model, dataset: Dataset, users: Array, max_history: int | None) -> TargetRanks:
    """The ranks of the test targets of `users`, by the rules of `recsys.evaluation.evaluate`."""
    target_users, items, ranks = [], [], []
    for batch in _batches(dataset, users, max_history):
        batch_ranks = target_ranks(_score_unseen(model, batch), batch, dataset.n_items)
        assert batch.users is not None, "ranking batches name the user of each row"
        target_users.append(batch.users.numpy()[batch.target_query.numpy()])
        items.append(batch.target.numpy())
        ranks.append(batch_ranks[batch_ranks > 0].numpy())
    return TargetRanks(np.concatenate(target_users), np.concatenate(items), np.concatenate(ranks))


@torch.inference_mode()
def recommend_lists(model: Model, dataset: Dataset, users: Array, max_history: int | None, k: int) -> dict[int, Array]:
    """The first k items (K,) for each user, by user number; fewer where fewer can be recommended."""
    lists = {}
    for batch in _batches(dataset, users, max_history):
        top = _score_unseen(model, batch).topk(k, dim=1)
        assert batch.users is not None, "ranking batches name the user of each row"
        for user, items, scores in zip(batch.users.tolist(), top.indices.numpy(), top.values, strict=True):
            lists[user] = items[~scores.isneginf().numpy()]
    return lists


def fit_up_to_test(model: Model, dataset: Dataset, config: DictConfig) -> tuple[Model, int | None]:
    """The model as it is compared on the test part, and the longest history that it reads."""
    if isinstance(model, ClosedForm):
        model.fit(dataset, "test")
        return model.eval(), None
    return model, config.batches.max_history


def _batches(dataset: Dataset, users: Array, max_history: int | None) -> Iterator[Batch]:
    batches = ranking_batches(dataset, "test", max_history)
    batches.users = users
    return iter(batches)


def _score_unseen(model: Model, batch: Batch) -> torch.Tensor:
    scores = score(model, batch).float().cpu()
    hide_seen(scores, batch)
    return scores
