"""Files ranked on the newest window as they would serve it: raw ids in, raw ids out, each by its own vocabulary.

U users, B users of a batch, I items with padding.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from recsys.data.batches.batch import Batch
from recsys.data.batches.ranking import sample_rows
from recsys.data.dataset import Dataset
from recsys.evaluation.evaluate import Ranking, evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches
from recsys.export.check import Asker, FileScorer
from recsys.export.export import words_of
from recsys.export.inputs import columns_of
from recsys.export.user_histories import Past
from recsys.serving.recommender import Question, Recommender

ASKED = 200
"""users whose questions are timed"""


@dataclass(frozen=True)
class Ranked:
    """One file on one window."""

    recommender: Recommender
    ranking: Ranking
    users: np.ndarray
    """(U,) whose rows the values of `ranking.per_user` are"""
    lists: np.ndarray
    """(U, k) the items that each user was shown; 0 where fewer remained"""


def ranked(path: Path, dataset: Dataset, n_users: int | None, k: int = 10) -> Ranked:
    """A file on the test part of a dataset, on `n_users` of its users (None: all; the same for every file)."""
    recommender = Recommender(path)
    inputs = recommender.describe()["inputs"]
    columns = [column for column in columns_of(dataset) if column.input in inputs]
    words = words_of(dataset, "user" in inputs)
    k = min(k, dataset.n_items)
    scorer = FileScorer(Asker(recommender), dataset, columns, words, min(k + 1, dataset.n_items))
    rows = sample_rows(make_ranking_batches(dataset, "test", None).rows, n_users)
    batches = make_ranking_batches(dataset, "test", None, rows=rows)  # the file itself reads the newest that it knows
    lists: list[np.ndarray] = []

    def noted(batch: Batch) -> Tensor:
        scores = scorer(batch)
        best = scores.topk(k, dim=1)
        lists.append(best.indices.masked_fill(best.values.isneginf(), 0).numpy())
        return scores

    ranking = evaluate_scorer(noted, dataset, batches, (k,))
    return Ranked(recommender, ranking, ranking.users, np.concatenate(lists))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """The mean share of items that two lists (U, k) of the same user have in common; empty slots are none."""
    same = (first[:, :, None] == second[:, None]) & (first > 0)[:, :, None]
    return float((same.sum(axis=(1, 2)) / np.maximum((first > 0).sum(axis=1), 1)).mean())


def milliseconds(files: list[Recommender], dataset: Dataset, users: np.ndarray) -> list[float]:
    """The median time of one answer of each file, asked in turns about the same users."""
    chosen = np.random.default_rng(0).permutation(users)[:ASKED]
    raw = dataset.raw_users().take(chosen).to_pylist()
    pasts = [Past(dataset, file.describe()["inputs"]) for file in files]
    times: list[list[float]] = [[] for _ in files]
    for user in raw:
        for file, past, found in zip(files, pasts, times, strict=True):
            question = _question(file, past.of(str(user)))
            start = time.perf_counter()
            file.answer([question])
            found.append(time.perf_counter() - start)
    return [float(np.median(found)) * 1000 for found in times]


def _question(file: Recommender, row: dict[str, Any]) -> Question:
    context = {name: value for name, value in row.items() if name not in ("history", "user")}
    return file.question(row["history"], row.get("user"), context)
