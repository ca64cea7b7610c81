"""A model's item vectors on two axes, to see which items it considers alike.

I items, D dimensions.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch

from recsys.data.dataset import Dataset
from recsys.models.base import Model, Trainable

Array = np.ndarray
Json = dict[str, Any]
MAX_ITEMS, MAX_CATEGORIES = 500, 5
"""items on the map, and categories that get a colour of their own"""


@torch.inference_mode()
def compute_item_map(model: Model, dataset: Dataset, titles: list[str], categories: pd.Series | None) -> Json | None:
    """The most popular items on the first two principal components of their vectors, with the share of the variance
    that each component has, in the format of report.json; None for a model without vectors. `titles` and `categories`
    are in the order of the item numbers, from 1.
    """
    if not isinstance(model, Trainable):
        return None
    popular = np.argsort(-dataset.item_counts[1:], kind="stable")[:MAX_ITEMS] + 1
    points, variance = _project(model.item_vectors().float().numpy()[popular])
    names = _name_categories(popular, categories)
    common = pd.Series([name for name in names if name]).value_counts().index[:MAX_CATEGORIES].tolist()
    return {
        "share": variance.tolist(),
        "category": None if categories is None else str(categories.name),
        "categories": common,
        "items": [
            {"title": titles[item - 1], "x": float(x), "y": float(y), "category": name if name in common else "other"}
            for item, (x, y), name in zip(popular.tolist(), points, names, strict=True)
        ],
    }


def _project(vectors: Array) -> tuple[Array, Array]:
    """(I, 2) coordinates on the first two principal components of vectors (I, D), and (2,) their shares of the
    variance; zeros for a second component that D = 1 does not have.
    """
    left, strengths, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    points = np.pad(left * strengths, ((0, 0), (0, 2)))[:, :2]
    variance = np.pad(strengths**2, (0, 2))[:2] / max(float((strengths**2).sum()), 1e-12)
    return points, variance


def _name_categories(items: Array, categories: pd.Series | None) -> list[str]:
    """The category of each item, empty where it is unknown."""
    if categories is None:
        return [""] * len(items)
    cells = categories.iloc[items - 1]
    return ["" if pd.isna(cell) else cell for cell in cells]
