"""Exported files ranked on the newest window as they would serve it: raw ids in, raw ids out, each by its vocabulary.

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
from recsys.export.check import FileScorer, RequestSender
from recsys.export.export import read_raw_ids
from recsys.export.inputs import read_columns
from recsys.export.user_histories import UserHistories
from recsys.serving.recommender import CheckedRequest, Recommender

TIMED_USERS = 200
"""users whose requests are timed"""


@dataclass(frozen=True)
class FileRanking:
    """The ranking of one file on one window."""

    recommender: Recommender
    ranking: Ranking
    users: np.ndarray
    """(U,) the user of each row of `ranking.per_user`"""
    lists: np.ndarray
    """(U, k) the items recommended to each user; 0 where fewer remained"""


def rank_file(path: Path, dataset: Dataset, n_users: int | None, k: int = 10) -> FileRanking:
    """Returns the ranking of a file on the test part of a dataset, for `n_users` of its users, which are the same for
    every file; None: all users.
    """
    recommender = Recommender(path)
    k = min(k, dataset.n_items)
    scorer = _make_scorer(recommender, dataset, k)
    rows = sample_rows(make_ranking_batches(dataset, "test", None).rows, n_users)
    batches = make_ranking_batches(dataset, "test", None, rows=rows)  # the file itself cuts histories to its length
    lists: list[np.ndarray] = []

    def score_and_record(batch: Batch) -> Tensor:
        scores = scorer(batch)
        best = scores.topk(k, dim=1)
        lists.append(best.indices.masked_fill(best.values.isneginf(), 0).numpy())
        return scores

    ranking = evaluate_scorer(score_and_record, dataset, batches, (k,))
    return FileRanking(recommender, ranking, ranking.users, np.concatenate(lists))


def _make_scorer(recommender: Recommender, dataset: Dataset, k: int) -> FileScorer:
    inputs = recommender.describe()["inputs"]
    columns = [column for column in read_columns(dataset) if column.input in inputs]
    words = read_raw_ids(dataset, "user" in inputs)
    return FileScorer(RequestSender(recommender), dataset, columns, words, min(k + 1, dataset.n_items))


def compute_list_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the mean fraction of items that two lists (U, k) of the same user have in common; 0 is an empty slot."""
    same = (first[:, :, None] == second[:, None]) & (first > 0)[:, :, None]
    return float((same.sum(axis=(1, 2)) / np.maximum((first > 0).sum(axis=1), 1)).mean())


def time_answers(files: list[Recommender], dataset: Dataset, users: np.ndarray) -> list[float]:
    """Returns the median milliseconds of one answer of each file; the files answer in turns for the same users."""
    sample = np.random.default_rng(0).permutation(users)[:TIMED_USERS]
    raw_users = dataset.raw_users().take(sample).to_pylist()
    pasts = [UserHistories(dataset, file.describe()["inputs"]) for file in files]
    times: list[list[float]] = [[] for _ in files]
    for user in raw_users:
        for file, past, file_times in zip(files, pasts, times, strict=True):
            question = _make_question(file, past.read(str(user)))
            start = time.perf_counter()
            file.answer([question])
            file_times.append(time.perf_counter() - start)
    return [float(np.median(file_times)) * 1000 for file_times in times]


def _make_question(file: Recommender, row: dict[str, Any]) -> CheckedRequest:
    context = {name: value for name, value in row.items() if name not in ("history", "user")}
    return file.question(row["history"], row.get("user"), context)
