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
TFIDF_OPTIONS: Any = {"analyzer": "char_wb", "ngram_range": (3, 4), "sublinear_tf": True}
"""runs of three and four letters inside words, so that forms of a word and years are alike (docs/lab_log.md)"""
TERMS_FILE, ARRAYS_FILE = "text.json", "text.npz"
"""the files of a prepared dataset that hold its text encoder"""


@dataclass(frozen=True)
class TextEncoder:
    """An encoder fitted on the texts of the training items.

    Vectors have mean 0 and, over all components, standard deviation 1; a text without any known term is a vector of
    zeros, the mean of the others.
    """

    name: str
    """tfidf, or the folder of a sentence-transformers model"""
    terms: tuple[str, ...]
    """the runs of letters that TF-IDF counts; empty for a language model"""
    idf: np.ndarray
    """(T,)"""
    components: np.ndarray
    """(D, T)"""
    mean: np.ndarray
    """(D,)"""
    scale: float
    identity: str
    """`tfidf` or a hash of the language model, independent of its folder"""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D) float32."""
        return self.reduce(_vectorize(self.name, texts, self.terms, self.idf))

    def reduce(self, vectors: Any) -> np.ndarray:
        """(N, D) float32 from vectors (N, T) by TF-IDF or a language model."""
        reduced = (vectors @ self.components.T - self.mean) / self.scale
        return np.where(_has_content(vectors)[:, None], reduced, 0.0).astype(np.float32)

    def write(self, folder: Path) -> None:
        """Write text.json and text.npz into the folder."""
        about = {"name": self.name, "identity": self.identity, "scale": self.scale, "terms": self.terms}
        (folder / TERMS_FILE).write_text(json.dumps(about))
        np.savez(folder / ARRAYS_FILE, idf=self.idf, components=self.components, mean=self.mean)

    @classmethod
    def read(cls, folder: Path) -> "TextEncoder":
        """The encoder that `write` left in the folder."""
        about = json.loads((folder / TERMS_FILE).read_text())
        with np.load(folder / ARRAYS_FILE) as arrays:
            return cls(**{**about, "terms": tuple(about["terms"])}, **arrays)


def fit_text_encoder(texts: Sequence[str], n: int, name: str, dim: int) -> tuple[TextEncoder, np.ndarray]:
    """An encoder fitted on the first `n` texts, and the vectors (N, D) of all texts; DataError if they share no term.

    Vectors have `dim` dimensions, or fewer if the texts have fewer. TF-IDF counts a term that occurs n times in a text
    as 1 + log n, ignores terms of only one text, and gives each text length 1. Source: Deerwester et al., Indexing by
    Latent Semantic Analysis (1990).
    """
    from sklearn.decomposition import TruncatedSVD

    terms, idf = _fit_terms(texts[:n]) if name == TFIDF else ((), np.zeros(0))
    vectors = _vectorize(name, texts, terms, idf)
    reduction = TruncatedSVD(min(dim, n, vectors.shape[1]), n_iter=10, random_state=0)
    reduced = reduction.fit_transform(vectors[:n])[_has_content(vectors[:n])]
    mean = reduced.mean(axis=0)
    scale = float((reduced - mean).std()) or 1.0
    components = reduction.components_.astype(np.float32)
    encoder = TextEncoder(name, terms, idf, components, mean, scale, hash_text_encoder(name))
    return encoder, encoder.reduce(vectors)


def join_texts(table: pd.DataFrame) -> list[str]:
    """One text per row, all its columns joined: a null adds nothing, a list its values."""

    def to_text(cell: Any) -> str:
        if isinstance(cell, (list, tuple, np.ndarray)):
            return " ".join(map(str, cell))
        return "" if cell is None or cell is pd.NA or cell != cell else str(cell)

    return [" ".join(filter(None, map(to_text, row))) for row in table.itertuples(index=False)]


def compute_sentence_vectors(folder: str, texts: Sequence[str]) -> np.ndarray:
    """(N, T) float32 by the sentence-transformers model in a folder, zeros for an empty text.

    Computed offline and on the CPU. Raises DataError if the package or the folder is missing.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as error:
        raise DataError(f"{error.name} is not installed; run: {install_command('text')}") from error

    hash_text_encoder(folder)
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    vectors = model.encode(list(texts), show_progress_bar=False)
    return np.where(np.array([bool(text.strip()) for text in texts])[:, None], vectors, 0.0).astype(np.float32)


def hash_text_encoder(name: str) -> str:
    """`tfidf`, or a hash of the files in a language model's folder; DataError if it holds no such model."""
    if name == TFIDF:
        return TFIDF
    folder = Path(name)
    if not (folder / "modules.json").exists():
        raise DataError(
            f"data.features.text_encoder='{name}' is not the folder of a sentence-transformers model: it has no "
            "modules.json; write tfidf or the path of one"
        )
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _vectorize(name: str, texts: Sequence[str], terms: Sequence[str], idf: np.ndarray) -> Any:
    """(N, T) by TF-IDF or by the language model in the folder `name`."""
    return _compute_tfidf(texts, terms, idf) if name == TFIDF else compute_sentence_vectors(name, texts)


def _has_content(vectors: Any) -> np.ndarray:
    """(N,) bool: rows that are not all zero."""
    return np.asarray(abs(vectors).sum(axis=1)).ravel() > 0


def _fit_terms(texts: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The terms that occur in at least two texts and their idf (T,); DataError if there are none."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    nothing = "data.features.text: no term occurs in the texts of two training items; name other columns"
    try:
        vectorizer = TfidfVectorizer(min_df=2, **TFIDF_OPTIONS).fit(texts)
    except ValueError as error:
        raise DataError(nothing) from error
    terms = tuple(map(str, vectorizer.get_feature_names_out()))
    if len(terms) < 2:
        raise DataError(nothing)
    return terms, vectorizer.idf_


def _compute_tfidf(texts: Sequence[str], terms: Sequence[str], idf: np.ndarray) -> Any:
    """(N, T) sparse TF-IDF of texts by fitted terms."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(vocabulary=terms, **TFIDF_OPTIONS)
    vectorizer.idf_ = idf
    return vectorizer.transform(texts)
