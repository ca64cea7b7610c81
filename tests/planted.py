"""Logs with a planted answer, asymmetric so that swapped arguments show, and how to prepare them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.data.dataset import Dataset
from recsys.data.preparation.prepare import prepare
from recsys.data.preparation.splits import LeaveOneOut, Split
from recsys.data.settings import DataSettings
from recsys.data.sources.files import FrameSource, Source

DAY = 86_400
START = 1_700_000_000
STEP = 7


def successor(item: int, n_items: int = 25) -> int:
    """The next item on the planted ring; it is a single ring unless n_items is a multiple of 7."""
    return (item + STEP) % n_items


def planted_log(n_users: int = 60, n_items: int = 25, seed: int = 0) -> pd.DataFrame:
    """Users walk along a ring of items, one event a day, with 10% of jumps; columns user ("u07"), item ("i03"),
    timestamp (whole seconds), rows shuffled.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        item, start = int(n_items * rng.random() ** 2), START + DAY * int(rng.integers(30))
        for day in range(int(rng.integers(5, 26))):
            rows.append((f"u{user:02}", f"i{item:02}", start + DAY * day + int(rng.integers(DAY // 2))))
            item = successor(item, n_items) if rng.random() < 0.9 else int(rng.integers(n_items))
    return _shuffled(pd.DataFrame(rows, columns=["user", "item", "timestamp"]), rng)


def planted_baskets(n_users: int = 40, n_items: int = 30, seed: int = 0) -> pd.DataFrame:
    """A shop: baskets of one to six distinct items at one time, 60% of them from the user's own four favourites;
    columns user, item, timestamp, basket (whole number), rows shuffled.
    """
    rng = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, n_items + 1)
    rows, basket = [], 0
    for user in range(n_users):
        favourites = rng.choice(n_items, 4, replace=False)
        moment = START
        for _ in range(int(rng.integers(4, 15))):
            moment += int(rng.integers(3, 12)) * DAY // 2 + int(rng.integers(3600))
            drawn = rng.choice(n_items, 6, p=popularity / popularity.sum())
            chosen = np.where(rng.random(6) < 0.6, rng.choice(favourites, 6), drawn)
            items = dict.fromkeys(chosen[: rng.integers(1, 7)].tolist())
            rows += [(f"u{user:02}", f"i{item:02}", moment, basket) for item in items]
            basket += 1
    return _shuffled(pd.DataFrame(rows, columns=["user", "item", "timestamp", "basket"]), rng)


def planted_mixed(n_users: int = 40, n_items: int = 30, seed: int = 0) -> pd.DataFrame:
    """Views, carts and purchases, an hour apart: a user views three items, carts one of them and buys it; columns
    user, item, timestamp, event, rows shuffled. The last item in the cart is what is bought next.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        moment = START + int(rng.integers(30)) * DAY
        for _ in range(int(rng.integers(2, 8))):
            viewed = rng.choice(n_items, 3, replace=False)
            chosen = int(rng.choice(viewed))
            for event, item in [*(("view", int(item)) for item in viewed), ("cart", chosen), ("purchase", chosen)]:
                rows.append((f"u{user:02}", f"i{item:02}", moment, event))
                moment += 3600
            moment += DAY
    return _shuffled(pd.DataFrame(rows, columns=["user", "item", "timestamp", "event"]), rng)


def planted_items(n_items: int = 30) -> pd.DataFrame:
    """Columns item, aisle (one of five)."""
    return pd.DataFrame({"item": [f"i{i:02}" for i in range(n_items)], "aisle": [f"a{i % 5}" for i in range(n_items)]})


def planted_users(n_users: int = 40) -> pd.DataFrame:
    """Columns user, age (a float)."""
    return pd.DataFrame({"user": [f"u{u:02}" for u in range(n_users)], "age": [20.0 + u for u in range(n_users)]})


def prepared(folder: Path, source: Source | pd.DataFrame, split: Split | None = None, **settings: Any) -> Dataset:
    """The prepared dataset of a source or of a frame of events, split by leave-one-out unless a split is given."""
    source = FrameSource(source) if isinstance(source, pd.DataFrame) else source
    data = DataSettings(**{"name": "planted", **settings}, source=source, folder=str(folder))
    return prepare(data, split or LeaveOneOut())


def _shuffled(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
