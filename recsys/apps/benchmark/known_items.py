"""How often search finds the product whose title is typed: in full, mistyped, with a word missing, or cut short."""

import random
import re
import time
from collections.abc import Callable, Mapping

import numpy as np

from recsys.apps.assistant.catalogue_file import read_catalogue
from recsys.apps.assistant.search import ProductIndex

Typist = Callable[[str, random.Random], str]


def measure(catalogue: str, columns: Mapping[str, str | None], queries: int, top: int, seed: int) -> list[str]:
    """Returns lines with hit@top of words alone, of letters alone and of both joined, for each way of typing, and the
    time of a search. A product of the same title counts as a hit too.
    """
    products = read_catalogue(catalogue, columns)
    start = time.perf_counter()
    index = ProductIndex(products)
    lines = [f"{len(index.items):,} products, ready after {time.perf_counter() - start:.1f} s"]
    rng = random.Random(seed)
    sample = rng.sample(index.items, min(queries, len(index.items)))
    titles = {item: product.title for item, product in products.products.items()}
    all_items, spent = np.arange(len(index.items)), 0.0
    lines.append(f"{f'hit@{top}':<22} {'words':>8} {'letters':>8} {'joined':>8}")
    for name, type_title in TYPISTS.items():
        hits = np.zeros(3)
        for item in sample:
            query = type_title(simplify_title(titles[item]), rng)
            begin = time.perf_counter()
            joined = list(index.find(query, index.items))
            spent += time.perf_counter() - begin
            lists = index.rank_by_words(query, all_items), index.rank_by_letters(query, all_items), joined
            hits += [titles[item] in {titles[result] for result in results[:top]} for results in lists]
        lines.append(f"{name:<22} " + " ".join(f"{rate:8.3f}" for rate in hits / len(sample)))
    return [*lines, f"{spent / len(sample) / len(TYPISTS) * 1e3:.1f} ms per search"]


def simplify_title(title: str) -> str:
    """Returns a title as people type it: without brackets, and with the article in front."""
    return re.sub(r"^(.*), (The|A|An)$", r"\2 \1", re.sub(r"\s*\(.*", "", title)) or title


def _swap_letters(text: str, rng: random.Random) -> str:
    if len(text) < 5:
        return text
    n = rng.randrange(1, len(text) - 2)
    return text[:n] + text[n + 1] + text[n] + text[n + 2 :]


def _drop_word(text: str, rng: random.Random) -> str:
    """Leaves out one word of three or more."""
    words = text.split()
    if len(words) > 2:
        words.pop(rng.randrange(len(words)))
    return " ".join(words)


TYPISTS: dict[str, Typist] = {
    "the title": lambda text, _: text,
    "two letters swapped": _swap_letters,
    "a word missing": _drop_word,
    "the first two words": lambda text, _: " ".join(text.split()[:2]),
}
