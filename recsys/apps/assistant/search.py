"""Products by words: BM25 over stems and vectors of letters, joined by reciprocal rank."""

import logging
from collections.abc import Sequence

import numpy as np

from recsys.apps.assistant.catalogue import Catalogue, stems
from recsys.extras import require_extra

DEPTH = 100
"""products of each list that are joined"""
CONSTANT = 60
"""of reciprocal rank fusion: what keeps the first place of one list from deciding alone"""
SHARE, FLOOR = 0.6, 0.2
"""letters that two texts share by chance: a cosine below this, or below the share of the best one, is no likeness"""


class Index:
    """I products of a catalogue, made ready at start."""

    def __init__(self, catalogue: Catalogue) -> None:
        with require_extra("assistant"):
            import bm25s
            from sklearn.feature_extraction.text import TfidfVectorizer
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        self.items = list(catalogue.products)
        self._places = {item: n for n, item in enumerate(self.items)}
        self._stems = {item: product.stems for item, product in catalogue.products.items()}
        texts = [product.text for product in catalogue.products.values()]
        self._words = bm25s.BM25()
        self._words.index([list(dict.fromkeys(stems(text))) or [""] for text in texts], show_progress=False)
        self._letters = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, strip_accents="unicode", dtype=np.float32
        )
        self._vectors = self._letters.fit_transform([f"{text} ." for text in texts]).T.tocsc()

    def find(self, text: str, among: Sequence[str]) -> dict[str, float]:
        """Those of `among` that have something in common with the text, with scores, best first: reciprocal ranks
        times one and the share of the text's words that a product has, so that all words come before some of them.
        """
        places = np.array([self._places[item] for item in among], np.int64)
        wanted = set(stems(text)) or {""}
        fused = joined([self.by_words(text, places), self.by_letters(text, places)])
        has = {item: len(wanted & self._stems[item]) / len(wanted) for item in fused}
        return ordered({item: score * (1 + has[item]) for item, score in fused.items()})

    def by_words(self, text: str, places: np.ndarray) -> list[str]:
        """Of the products at `places`, the best by BM25."""
        known = [stem for stem in stems(text) if stem in self._words.vocab_dict]
        return self._best(self._words.get_scores(known), places) if known else []

    def by_letters(self, text: str, places: np.ndarray) -> list[str]:
        """Of the products at `places`, those with the most similar runs of two to four letters, mistyped ones too."""
        scores = (self._letters.transform([text]) @ self._vectors).toarray()[0]
        return self._best(scores, places, max(FLOOR, SHARE * float(scores[places].max(initial=0.0))))

    def _best(self, scores: np.ndarray, places: np.ndarray, least: float = 0.0) -> list[str]:
        order = np.argsort(-scores[places], kind="stable")[:DEPTH]
        return [self.items[place] for place in places[order] if scores[place] > 0 and scores[place] >= least]


def joined(lists: Sequence[Sequence[str]]) -> dict[str, float]:
    """Reciprocal rank fusion: the sum of 1 / (60 + place) over lists, best first."""
    found: dict[str, float] = {}
    for ranked in lists:
        for place, item in enumerate(ranked, 1):
            found[item] = found.get(item, 0.0) + 1 / (CONSTANT + place)
    return ordered(found)


def ordered(scores: dict[str, float]) -> dict[str, float]:
    """Best first; of equal ones the earlier."""
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))
