"""What a model does, to be looked at: histories with lists, and where it puts items.

I items, D dimensions.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch

from recsys.apps.reports.test_rankings import lists
from recsys.data.batches.ranking import RankingBatches
from recsys.data.dataset import Dataset
from recsys.models.base import Model, Trainable

Array = np.ndarray
Json = dict[str, Any]
HISTORY, ASKED = 8, 10
"""events before the test and targets of an example, at most"""
ITEMS, KINDS = 500, 5
"""items on the map, and categories that have colours there"""


def examples(
    model: Model, dataset: Dataset, users: Array, max_history: int | None, k: int, titles: list[str]
) -> list[Json]:
    """For each of some test users the newest events, the list, and what came, by title, hits marked; no user's id."""
    start, end = (getattr(RankingBatches(dataset, "test", 1), name) for name in ("start", "end"))
    given = lists(model, dataset, users, max_history, k)
    found = []
    for number, user in enumerate(users.tolist(), start=1):
        before = dataset.items[dataset.offsets[user] : start[user]]
        at = np.arange(start[user], end[user])
        came = dataset.items[at if dataset.is_target is None else at[dataset.is_target[at]]]
        found.append(
            {
                "number": number,
                "events_before": len(before),
                "history": [titles[item - 1] for item in before[-HISTORY:]],
                "list": [{"title": titles[item - 1], "hit": bool(np.isin(item, came))} for item in given[user]],
                "targets": len(np.unique(came)),
                "came": [
                    {"title": titles[item - 1], "hit": bool(np.isin(item, given[user]))}
                    for item in dict.fromkeys(came.tolist())
                ][:ASKED],
            }
        )
    return found


@torch.inference_mode()
def item_map(model: Model, dataset: Dataset, titles: list[str], categories: pd.Series | None) -> Json | None:
    """The most popular items on the two directions in which the model's vectors of them differ most, with what share of
    the differences these show; None for a model without vectors.
    """
    if not isinstance(model, Trainable):
        return None
    popular = np.argsort(-dataset.item_counts[1:], kind="stable")[:ITEMS] + 1
    vectors = model.item_vectors().float().numpy()[popular]
    left, strengths, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    flat = np.pad(left * strengths, ((0, 0), (0, 2)))[:, :2]  # a model of one dimension has no second
    shares = np.pad(strengths**2, (0, 2))[:2] / max(float((strengths**2).sum()), 1e-12)
    kinds = [
        "" if categories is None or pd.isna(categories.iloc[item - 1]) else categories.iloc[item - 1]
        for item in popular
    ]
    common = pd.Series([kind for kind in kinds if kind]).value_counts().index[:KINDS].tolist()
    return {
        "share": shares.tolist(),
        "category": None if categories is None else str(categories.name),
        "categories": common,
        "items": [
            {"title": titles[item - 1], "x": float(x), "y": float(y), "category": kind if kind in common else "other"}
            for item, (x, y), kind in zip(popular.tolist(), flat, kinds, strict=True)
        ],
    }
