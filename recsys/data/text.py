"""Texts of items as vectors: TF-IDF over runs of letters or a language model's sentence vectors, reduced by an SVD.

N texts, T terms (or components of a sentence vector), D dimensions.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.errors import DataError
from recsys.extras import install_command

TFIDF = "tfidf"
LETTERS: Any = {"analyzer": "char_wb", "ngram_range": (3, 4), "sublinear_tf": True}
"""runs of three and four letters inside words: years and forms of a word are then alike (docs/experiments.md)"""
TERMS, ARRAYS = "text.json", "text.npz"
"""of a prepared dataset: what it takes to encode texts later"""


@dataclass(frozen=True)
class TextEncoder:
    """What was learned of the training items' texts. A text of which nothing is known is a vector of zeros, which is
    also the mean of the others; these vary by 1 a component, on average.
    """

    name: str
    """tfidf, or the folder of a sentence-transformers model"""
    terms: tuple[str, ...]
    """the runs of letters of TF-IDF; none for a language model"""
    idf: np.ndarray
    """(T,)"""
    components: np.ndarray
    """(D, T)"""
    mean: np.ndarray
    """(D,)"""
    scale: float
    identity: str
    """of the encoder, wherever it lies"""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float32."""
        known = _weighted(texts, self.terms, self.idf) if self.name == TFIDF else sentence_vectors(self.name, texts)
        return self.reduce(known)

    def reduce(self, known: Any) -> np.ndarray:
        """(N, D) float32 of what TF-IDF or the language model makes of texts (N, T)."""
        reduced = (known @ self.components.T - self.mean) / self.scale
        return np.where(_told(known)[:, None], reduced, 0.0).astype(np.float32)

    def write(self, folder: Path) -> None:
        """Leave text.json and text.npz."""
        about = {"name": self.name, "identity": self.identity, "scale": self.scale, "terms": self.terms}
        (folder / TERMS).write_text(json.dumps(about))
        np.savez(folder / ARRAYS, idf=self.idf, components=self.components, mean=self.mean)

    @classmethod
    def read(cls, folder: Path) -> "TextEncoder":
        """What `write` left."""
        about = json.loads((folder / TERMS).read_text())
        with np.load(folder / ARRAYS) as arrays:
            return cls(**{**about, "terms": tuple(about["terms"])}, **arrays)


def fit_text(texts: Sequence[str], n: int, name: str, dim: int) -> tuple[TextEncoder, np.ndarray]:
    """The encoder that has learned from the first `n` texts, into `dim` dimensions or as many as they have, and the
    vectors of all; DataError if those have nothing in common.

    TF-IDF counts what occurs in two texts or more by 1 + log n, rows have length 1. Deerwester et al., Indexing by
    Latent Semantic Analysis (1990).
    """
    from sklearn.decomposition import TruncatedSVD

    terms, idf = _words(texts[:n]) if name == TFIDF else ((), np.zeros(0))
    known = _weighted(texts, terms, idf) if name == TFIDF else sentence_vectors(name, texts)
    reduction = TruncatedSVD(min(dim, n, known.shape[1]), n_iter=10, random_state=0)
    reduced = reduction.fit_transform(known[:n])[_told(known[:n])]
    mean = reduced.mean(axis=0)
    scale = float((reduced - mean).std()) or 1.0
    found = TextEncoder(name, terms, idf, reduction.components_.astype(np.float32), mean, scale, identity_of(name))
    return found, found.reduce(known)


def joined(table: pd.DataFrame) -> list[str]:
    """One text a row of all its columns, a null being no text and a list its values."""

    def text(cell: Any) -> str:
        if isinstance(cell, (list, tuple, np.ndarray)):
            return " ".join(map(str, cell))
        return "" if cell is None or cell is pd.NA or cell != cell else str(cell)

    return [" ".join(filter(None, map(text, row))) for row in table.itertuples(index=False)]


def sentence_vectors(folder: str, texts: Sequence[str]) -> np.ndarray:
    """(N, T) float32 by the sentence-transformers model in a folder, zeros for an empty text; computed offline, on the
    CPU. DataError where the package or the folder is missing.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name} is not installed; run: {install_command('text')}") from error

    identity_of(folder)
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    found = model.encode(list(texts), show_progress_bar=False)
    return np.where(np.array([bool(text.strip()) for text in texts])[:, None], found, 0.0).astype(np.float32)


def identity_of(name: str) -> str:
    """A hash of the files of a folder, wherever it lies; DataError if there is no model in it."""
    if name == TFIDF:
        return TFIDF
    folder = Path(name)
    if not (folder / "modules.json").exists():
        raise DataError(
            f"data.features.text_encoder='{name}' is no folder of a sentence-transformers model: it has no "
            "modules.json; write tfidf or the path of one"
        )
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _told(known: Any) -> np.ndarray:
    """(N,) which rows are not all zero."""
    return np.asarray(abs(known).sum(axis=1)).ravel() > 0


def _words(texts: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The terms that at least two texts have and how rare each is; DataError if there are none."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    nothing = "data.features.text: the texts of the training items have nothing in common; name other columns"
    try:
        vectorizer = TfidfVectorizer(min_df=2, **LETTERS).fit(texts)
    except ValueError as error:
        raise DataError(nothing) from error
    terms = tuple(map(str, vectorizer.get_feature_names_out()))
    if len(terms) < 2:
        raise DataError(nothing)
    return terms, vectorizer.idf_


def _weighted(texts: Sequence[str], terms: Sequence[str], idf: np.ndarray) -> Any:
    """(N, T) sparse TF-IDF of texts by terms that are known."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(vocabulary=terms, **LETTERS)
    vectorizer.idf_ = idf
    return vectorizer.transform(texts)
