"""Statistics of the training and the test part of a split, counted as the evaluation counts them."""

from typing import Any

import numpy as np

from recsys.data.batches.ranking import RankingBatches
from recsys.data.dataset import Dataset

Array = np.ndarray
Json = dict[str, Any]


def describe_training_targets(dataset: Dataset) -> Json:
    """Counts of the targets before the validation part, of the users who have them and of their items."""
    positions, users = _locate_targets(dataset)
    before_validation = positions < dataset.bounds[users, 0]
    per_user = np.bincount(users[before_validation])
    per_item = np.bincount(dataset.items[positions[before_validation]])
    n, n_users, n_items = int(before_validation.sum()), int((per_user > 0).sum()), int((per_item > 0).sum())
    return {
        "targets": n,
        "users": n_users,
        "users_of_2": int((per_user >= 2).sum()),
        "users_of_3": int((per_user >= 3).sum()),
        "items": n_items,
        "targets_a_user": n / max(n_users, 1),
        "targets_an_item": n / max(n_items, 1),
        "items_of_5": float((per_item >= 5).sum() / max(n_items, 1)),
    }


def describe_test_targets(dataset: Dataset) -> Json:
    """Counts of the users and targets of the test part, and the shares of them that are new or repeated."""
    users, items = _find_test_pairs(dataset)
    distinct_users = np.unique(users)
    n, n_users = max(len(items), 1), max(len(distinct_users), 1)
    return {
        "users": len(distinct_users),
        "targets": len(items),
        "cold_targets": int((items > dataset.n_items).sum()) / n,
        "cold_users": int((dataset.user_rows[distinct_users] == 0).sum()) / n_users,
        "repeated_targets": int(np.isin(_encode_pairs(dataset, users, items), _pairs_before_test(dataset)).sum()) / n,
    }


def compute_repeat_share(dataset: Dataset) -> float:
    """The share of all targets whose user had the item before."""
    positions, users = _locate_targets(dataset)
    pairs = _encode_pairs(dataset, users, dataset.items[positions])
    return 1 - len(np.unique(pairs)) / len(positions)


def _locate_targets(dataset: Dataset) -> tuple[Array, Array]:
    """The positions of all targets in the log, and their users."""
    positions = dataset.target_positions
    return positions, np.searchsorted(dataset.offsets, positions, side="right") - 1


def _encode_pairs(dataset: Dataset, users: Array, items: Array) -> Array:
    """One number for each pair of a user and an item."""
    return users.astype(np.int64) * (int(dataset.items.max()) + 1) + items


def _pairs_before_test(dataset: Dataset) -> Array:
    positions, users = _locate_targets(dataset)
    before_test = positions < dataset.bounds[users, 1]
    return _encode_pairs(dataset, users[before_test], dataset.items[positions[before_test]])


def _find_test_pairs(dataset: Dataset) -> tuple[Array, Array]:
    """Users and items of the distinct targets of the test part."""
    batches = RankingBatches(dataset, "test", 1)
    positions, users = _locate_targets(dataset)
    in_test = (positions >= batches.history_end[users]) & (positions < batches.target_end[users])
    pairs = np.unique(_encode_pairs(dataset, users[in_test], dataset.items[positions[in_test]]))
    base = int(dataset.items.max()) + 1
    return pairs // base, pairs % base
