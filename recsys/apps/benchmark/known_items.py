"""How often a search finds the product whose name somebody types: whole, mistyped, with a word missing, half."""

import random
import re
import time
from collections.abc import Callable, Mapping

import numpy as np

from recsys.apps.assistant.catalogue_file import read_catalogue
from recsys.apps.assistant.search import ProductIndex

Typist = Callable[[str, random.Random], str]


def measure(catalogue: str, columns: Mapping[str, str | None], queries: int, top: int, seed: int) -> list[str]:
    """Lines with hit@top of words alone, letters alone, and both joined, for each way of typing, and the time of a
    search. A product of the same title is a hit too.
    """
    products = read_catalogue(catalogue, columns)
    start = time.perf_counter()
    index = ProductIndex(products)
    said = [f"{len(index.items):,} products, ready after {time.perf_counter() - start:.1f} s"]
    draw = random.Random(seed)
    asked = draw.sample(index.items, min(queries, len(index.items)))
    titles = {item: product.title for item, product in products.products.items()}
    everything, spent = np.arange(len(index.items)), 0.0
    said.append(f"{f'hit@{top}':<22} {'words':>8} {'letters':>8} {'joined':>8}")
    for name, typed in TYPED.items():
        hits = np.zeros(3)
        for item in asked:
            text = typed(plain(titles[item]), draw)
            begin = time.perf_counter()
            joined = list(index.find(text, index.items))
            spent += time.perf_counter() - begin
            lists = index.rank_by_words(text, everything), index.rank_by_letters(text, everything), joined
            hits += [titles[item] in {titles[one] for one in found[:top]} for found in lists]
        said.append(f"{name:<22} " + " ".join(f"{share:8.3f}" for share in hits / len(asked)))
    return [*said, f"{spent / len(asked) / len(TYPED) * 1e3:.1f} ms a search"]


def plain(title: str) -> str:
    """As people write it: without what stands in brackets, the article in front."""
    return re.sub(r"^(.*), (The|A|An)$", r"\2 \1", re.sub(r"\s*\(.*", "", title)) or title


def _swapped(text: str, draw: random.Random) -> str:
    """Two letters in the wrong order."""
    if len(text) < 5:
        return text
    place = draw.randrange(1, len(text) - 2)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def _shorter(text: str, draw: random.Random) -> str:
    """One word of three or more left out."""
    words = text.split()
    if len(words) > 2:
        words.pop(draw.randrange(len(words)))
    return " ".join(words)


TYPED: dict[str, Typist] = {
    "the title": lambda text, _: text,
    "two letters swapped": _swapped,
    "a word missing": _shorter,
    "the first two words": lambda text, _: " ".join(text.split()[:2]),
}
