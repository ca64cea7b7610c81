"""Products by words: BM25 over stems and vectors of letters, joined by reciprocal rank fusion."""

import logging
from collections.abc import Sequence

import numpy as np

from recsys.apps.assistant.catalogue import Catalogue
from recsys.apps.assistant.words import stem_words
from recsys.extras import require_extra

DEPTH = 100
"""products of each ranking that are fused"""
FUSION_CONSTANT = 60
"""constant of reciprocal rank fusion: it keeps the first place of one ranking from deciding alone"""
MIN_RELATIVE_COSINE, MIN_COSINE = 0.6, 0.2
"""texts share letters by chance: a cosine below the second, or below the first times the best one, does not count"""


class ProductIndex:
    """Index over the I products of a catalogue, built at start."""

    def __init__(self, catalogue: Catalogue) -> None:
        with require_extra("assistant"):
            import bm25s
            from sklearn.feature_extraction.text import TfidfVectorizer
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        self.items = list(catalogue.products)
        self._rows = {item: n for n, item in enumerate(self.items)}
        self._stems = {item: product.stems for item, product in catalogue.products.items()}
        texts = [product.text for product in catalogue.products.values()]
        self._bm25 = bm25s.BM25()
        self._bm25.index([list(dict.fromkeys(stem_words(text))) or [""] for text in texts], show_progress=False)
        self._vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, strip_accents="unicode", dtype=np.float32
        )
        self._vectors = self._vectorizer.fit_transform([f"{text} ." for text in texts]).T.tocsc()

    def find(self, text: str, candidates: Sequence[str]) -> dict[str, float]:
        """The candidates that have something in common with the text, with scores, best first.

        A score is the sum of reciprocal ranks times 1 + the fraction of the text's words that the product has, so that
        products with all words come before those with some.
        """
        rows = np.array([self._rows[item] for item in candidates], np.int64)
        stems = set(stem_words(text)) or {""}
        fused = fuse_rankings([self.rank_by_words(text, rows), self.rank_by_letters(text, rows)])
        coverage = {item: len(stems & self._stems[item]) / len(stems) for item in fused}
        return sort_by_score({item: score * (1 + coverage[item]) for item, score in fused.items()})

    def rank_by_words(self, text: str, rows: np.ndarray) -> list[str]:
        """The best of the products at `rows` by BM25."""
        stems = [stem for stem in stem_words(text) if stem in self._bm25.vocab_dict]
        return self._select_best(self._bm25.get_scores(stems), rows) if stems else []

    def rank_by_letters(self, text: str, rows: np.ndarray) -> list[str]:
        """The products at `rows` with the most similar runs of two to four letters, mistyped ones too."""
        scores = (self._vectorizer.transform([text]) @ self._vectors).toarray()[0]
        best = float(scores[rows].max(initial=0.0))
        return self._select_best(scores, rows, max(MIN_COSINE, MIN_RELATIVE_COSINE * best))

    def _select_best(self, scores: np.ndarray, rows: np.ndarray, minimum: float = 0.0) -> list[str]:
        order = np.argsort(-scores[rows], kind="stable")[:DEPTH]
        return [self.items[row] for row in rows[order] if scores[row] > 0 and scores[row] >= minimum]


def fuse_rankings(rankings: Sequence[Sequence[str]]) -> dict[str, float]:
    """Reciprocal rank fusion: the sum over rankings of 1 / (60 + rank), best first."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + 1 / (FUSION_CONSTANT + rank)
    return sort_by_score(scores)


def sort_by_score(scores: dict[str, float]) -> dict[str, float]:
    """The scores, best first; equal ones keep their order."""
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))
