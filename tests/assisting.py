"""A planted shop with known answers: sixty products, of which thirty are those of the shop that the model knows."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from recsys.assistant.catalogue import Catalogue, read
from recsys.assistant.search import Index
from recsys.assistant.tools import Tools
from recsys.serving.explain import explain
from recsys.serving.messages import Answer, Asked, answered
from recsys.serving.recommender import Recommender

KINDS = ["jacket", "shirt", "boots", "hat", "scarf", "backpack"]
COLOURS = ["red", "blue", "green", "black", "white"]


def products() -> pd.DataFrame:
    """Columns item ("i00" to "i59"), title, price (10 to 69, in the order of ids), category, colour, age, left;
    every seventh is sold out. Item n is a KINDS[n % 6] in COLOURS[n % 5], for a child where n % 4 is 0.
    """
    rows = []
    for n in range(60):
        kind, colour, age = KINDS[n % 6], COLOURS[n % 5], "child" if n % 4 == 0 else "adult"
        name = NAMES[n % len(NAMES)] + ("" if n < len(NAMES) else " Two")
        rows.append((f"i{n:02}", f"{name} {kind.title()}", 10.0 + n, kind, colour, age, 0 if n % 7 == 6 else 3))
    return pd.DataFrame(rows, columns=["item", "title", "price", "category", "colour", "age", "left"])


NAMES = ["".join(pair) for pair in itertools.product(["Bor", "Kal", "Mir", "Tun", "Vel"], ["do", "nika", "rex", "sha"])]


def asking(recommender: Recommender) -> Callable[[Asked], Answer]:
    """Questions put to the file alone."""

    def ask(asked: Asked) -> Answer:
        given = {"k": asked.k, "exclude_seen": asked.exclude_seen, "allow": asked.allow}
        return answered(recommender.recommend(asked.history, **given))

    return ask


def shop_tools(artefact: Path, folder: Path, **own: Any) -> Tools:
    """The five functions on the planted shop."""
    catalogue = planted_catalogue(folder)
    recommender = Recommender(artefact)

    def reasons(items, history):
        return explain(recommender, items, history)

    return Tools(catalogue, Index(catalogue), asking(recommender), reasons, **own)


def planted_catalogue(folder: Path) -> Catalogue:
    """Read from a Parquet file in the folder."""
    products().to_parquet(folder / "items.parquet")
    return read(str(folder / "items.parquet"), {"stock": "left"})
