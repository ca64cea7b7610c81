"""NDCG by group of targets or users: popularity of the target, and length of the user's history.

n targets, U users.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from recsys.apps.reports.ranked_targets import TargetRanks
from recsys.data.dataset import Dataset
from recsys.evaluation.metrics.ranking import ndcg
from recsys.evaluation.metrics.stats import bootstrap_interval

Array = np.ndarray
Json = dict[str, Any]
THIRDS = ("most popular third", "middle third", "least popular third")


def group_by_popularity(dataset: Dataset, items: Array) -> tuple[list[str], Array]:
    """The names of the groups and the group (n,) of each item: thirds of the training events, starting with the most
    popular items, and a fourth group of items that are new since training.
    """
    order = np.argsort(-dataset.item_counts[1:], kind="stable") + 1
    events_before = np.cumsum(dataset.item_counts[order]) - dataset.item_counts[order]
    n_events = max(int(dataset.item_counts.sum()), 1)
    groups = np.full(max(int(dataset.items.max()), dataset.n_items) + 1, len(THIRDS))
    groups[order] = np.minimum(events_before * len(THIRDS) // n_events, len(THIRDS) - 1)
    sizes = np.bincount(groups[1:], minlength=len(THIRDS) + 1)
    names = [f"{name} ({n:,} items)" for name, n in zip(THIRDS, sizes, strict=False)]
    return [*names, f"new since training ({sizes[-1]:,} items)"], groups[items]


def group_by_history_length(dataset: Dataset, users: Array) -> tuple[list[str], Array]:
    """The names of the groups and the group (n,) of each user: quarters by the number of events before the test."""
    lengths = dataset.bounds[:, 1] - dataset.offsets[:-1]
    distinct = lengths[np.unique(users)]
    edges = np.unique(np.quantile(distinct, [0.25, 0.5, 0.75], method="lower"))
    highest = [*edges[edges < distinct.max()].tolist(), int(distinct.max())]
    lowest = [int(distinct.min()), *(int(edge) + 1 for edge in highest[:-1])]
    names = [
        f"{low:,}-{high:,} events" if low < high else f"{high:,} events"
        for low, high in zip(lowest, highest, strict=True)
    ]
    return names, np.searchsorted(highest, lengths[users])


def compute_group_ndcg(targets: TargetRanks, names: Sequence[str], groups: Array, k: int, min_users: int) -> list[Json]:
    """A row for each group that has targets: its number of users and targets, and NDCG@k over those targets with its
    95% interval; of groups with fewer than `min_users` users only the name.
    """
    rows = []
    for number, name in enumerate(names):
        mask = groups == number
        values = compute_user_ndcg(targets.users[mask], targets.ranks[mask], k)
        row: Json = {"segment": name, "users": len(values), "targets": int(mask.sum())}
        if len(values) >= min_users:
            low, high = bootstrap_interval(values)
            row |= {"ndcg": float(values.mean()), "low": low, "high": high}
        elif len(values):
            row = {"segment": name, "users": f"< {min_users}"}
        if len(values):
            rows.append(row)
    return rows


def compute_user_ndcg(users: Array, ranks: Array, k: int) -> Array:
    """(U,) NDCG@k of each distinct user, in ascending order of users; `users` and `ranks` are those of the targets."""
    _, rows, counts = np.unique(users, return_inverse=True, return_counts=True)
    order = np.argsort(rows, kind="stable")
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.zeros((len(counts), int(counts.max(initial=1))), dtype=np.int64)
    table[rows[order], columns] = ranks[order]
    return ndcg(torch.from_numpy(table), k).double().numpy()
