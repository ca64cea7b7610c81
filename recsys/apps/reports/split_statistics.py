"""What there is to learn from, and what is asked: the parts of a split in numbers, counted as evaluation does."""

from typing import Any

import numpy as np

from recsys.data.batches.ranking import RankingBatches
from recsys.data.dataset import Dataset

Array = np.ndarray
Json = dict[str, Any]


def training(dataset: Dataset) -> Json:
    """Targets before the validation part, the users who have them and the items that they are."""
    at, users = _targets(dataset)
    early = at < dataset.bounds[users, 0]
    of_user, of_item = np.bincount(users[early]), np.bincount(dataset.items[at[early]])
    n = int(early.sum())
    return {
        "targets": n,
        "users": int((of_user > 0).sum()),
        "users_of_2": int((of_user >= 2).sum()),
        "users_of_3": int((of_user >= 3).sum()),
        "items": int((of_item > 0).sum()),
        "targets_a_user": n / max(int((of_user > 0).sum()), 1),
        "targets_an_item": n / max(int((of_item > 0).sum()), 1),
        "items_of_5": float((of_item >= 5).sum() / max(int((of_item > 0).sum()), 1)),
    }


def testing(dataset: Dataset) -> Json:
    """Who is asked about in the test part, and how much of what is asked no history tells."""
    users, items = _asked(dataset)
    everyone = np.unique(users)
    n, n_users = max(len(items), 1), max(len(everyone), 1)
    return {
        "users": len(everyone),
        "targets": len(items),
        "cold_targets": int((items > dataset.n_items).sum()) / n,
        "cold_users": int((dataset.user_rows[everyone] == 0).sum()) / n_users,
        "repeated_targets": int(np.isin(_pairs(dataset, users, items), _before_test(dataset)).sum()) / n,
    }


def repeat_share(dataset: Dataset) -> float:
    """The share of all targets that their user had had before."""
    at, users = _targets(dataset)
    return 1 - len(np.unique(_pairs(dataset, users, dataset.items[at]))) / len(at)


def _targets(dataset: Dataset) -> tuple[Array, Array]:
    """Where the targets stand, and whose they are."""
    at = dataset.target_positions
    return at, np.searchsorted(dataset.offsets, at, side="right") - 1


def _pairs(dataset: Dataset, users: Array, items: Array) -> Array:
    """One number for a user and an item."""
    return users.astype(np.int64) * (int(dataset.items.max()) + 1) + items


def _before_test(dataset: Dataset) -> Array:
    at, users = _targets(dataset)
    early = at < dataset.bounds[users, 1]
    return _pairs(dataset, users[early], dataset.items[at[early]])


def _asked(dataset: Dataset) -> tuple[Array, Array]:
    """Users and items of the distinct targets of the test part."""
    asked = RankingBatches(dataset, "test", 1)
    at, users = _targets(dataset)
    inside = (at >= asked.start[users]) & (at < asked.end[users])
    pairs = np.unique(_pairs(dataset, users[inside], dataset.items[at[inside]]))
    width = int(dataset.items.max()) + 1
    return pairs // width, pairs % width
