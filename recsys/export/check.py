"""Compares a file with the model in torch before the file gets its name.

B users, I items with padding.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys.data.batches.batch import Batch
from recsys.data.batches.ranking import sample_rows
from recsys.data.dataset import Dataset
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import hide_seen, make_ranking_batches
from recsys.export.graph import RawIds
from recsys.export.inputs import Column
from recsys.export.reference import CheckRequest, RandomRequests, TorchReference
from recsys.models.base import Model
from recsys.serving.recommender import Recommendation, Recommender

RELATIVE_TOLERANCE = 1e-4
"""the relative difference that scores may have"""
MIN_OVERLAP = {"float32": 0.998, "float16": 0.998, "int8": 0.99}
"""the fraction of the file's top 10 that must be in the model's top 10"""
MAX_LISTED = 1_000_000
"""items that the answers to one batch may list; of a large catalogue, all items would not fit into memory"""
NDCG_TOLERANCE = 0.005
"""the relative difference that NDCG@10 may have"""


class CheckError(RuntimeError):
    """Raised if a file does not return what the model returns."""


class RequestSender:
    """Sends requests to a file, with those columns that the file takes."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        inputs = recommender.describe()["inputs"]
        self.columns = [name for name, column in inputs.items() if "of" in column and name != "user"]
        self.has_users = "user" in inputs

    def send(self, requests: Sequence[CheckRequest], k: int, allow: list[str] | None = None) -> list[Recommendation]:
        """The file's answers, computed in one batch."""
        answers: list[Recommendation] = self.recommender.recommend(
            [request.history for request in requests],
            user=[request.columns["user"] if self.has_users else None for request in requests],
            context=[{name: request.columns[name] for name in self.columns} for request in requests],
            k=k,
            exclude_seen=[request.exclude_seen for request in requests],
            allow=allow,
            deny=[request.deny for request in requests],
        )
        return answers


def check_answers(
    sender: RequestSender, reference: TorchReference, random_requests: RandomRequests, exact: bool
) -> int:
    """The number of requests that the file answers correctly, in batches of 1, 2 and 64.

    With `exact` false (int8), an item may be missing from a list, but every score must be right. Raises CheckError
    for a wrong answer.
    """
    n_requests = 0
    longest = random_requests.longest
    lengths: list[list[int | None]] = [
        [0], [1], [2], [longest], [longest + 7], [0, longest + 7], [1, 2], [None] * 64,
    ]  # fmt: skip
    for batch in lengths:
        for allow in (None, random_requests.draw_allowed()):
            requests = [random_requests.draw(length) for length in batch]
            largest_k = min(len(random_requests.items), MAX_LISTED // len(batch))
            k = int(random_requests.rng.choice([1, 5, 10, largest_k]))
            for request, answer in zip(requests, sender.send(requests, k, allow), strict=True):
                _compare(answer, reference.scores(request, allow), reference.item_numbers, k, exact)
                n_requests += 1
    _check_padding(sender, random_requests)
    return n_requests


def _compare(answer: Recommendation, scores: np.ndarray, item_numbers: dict[str, int], k: int, exact: bool) -> None:
    """Raises CheckError if a list of at most k items does not fit the scores (I,) of torch."""
    file_scores = np.array(answer.scores)
    n_nan, n_torch_nan = np.isnan(file_scores).sum(), np.isnan(scores).sum()
    if n_nan or n_torch_nan:
        raise CheckError(f"{n_nan} scores of the file and {n_torch_nan} of torch are NaN")
    numbers = [item_numbers[item] for item in answer.items]
    length, n_distinct = min(k, int(np.isfinite(scores).sum())), len(set(numbers))
    if n_distinct < len(numbers) or len(numbers) != length:
        raise CheckError(f"a list has {n_distinct} different items instead of {length}")
    torch_scores = scores[numbers]
    if not np.isfinite(torch_scores).all():
        hidden = answer.items[int(np.isfinite(torch_scores).argmin())]
        raise CheckError(f"the file lists item {hidden}, which torch leaves out")
    largest = np.abs(scores[np.isfinite(scores)]).max(initial=1.0)
    tolerance = RELATIVE_TOLERANCE * np.abs(torch_scores) + 0.1 * RELATIVE_TOLERANCE * largest
    excess = np.abs(file_scores - torch_scores) - tolerance
    if (excess > 0).any():
        worst = int(excess.argmax())
        raise CheckError(
            f"item {answer.items[worst]} scores {file_scores[worst]:.6g} in the file "
            f"and {torch_scores[worst]:.6g} in torch"
        )
    best = np.sort(scores)[::-1][: len(numbers)]
    if exact and (np.abs(np.sort(torch_scores)[::-1] - best) > 2 * tolerance.max(initial=0)).any():
        raise CheckError(f"a list of {k} leaves out an item that scores higher in torch")


def _check_padding(sender: RequestSender, random_requests: RandomRequests) -> None:
    """Raises CheckError if the answer to a short history depends on a long one in the same batch."""
    short, long = random_requests.draw(2), random_requests.draw(random_requests.longest)
    single, batched = sender.send([short], 10)[0], sender.send([short, long], 10)[0]
    if not np.allclose(single.scores, batched.scores, RELATIVE_TOLERANCE, RELATIVE_TOLERANCE):
        raise CheckError("the answer to a history changes when a longer one is in the same batch")


class FileScorer:
    """A file as a scorer of batches: −inf for all but the best k items."""

    def __init__(
        self, sender: RequestSender, dataset: Dataset, columns: Sequence[Column], raw_ids: RawIds, k: int
    ) -> None:
        self.sender, self.dataset, self.columns, self.k = sender, dataset, columns, k
        self.item_numbers = {raw: number for number, raw in enumerate(raw_ids.items, start=1)}
        self.raw_items = np.array(["", *raw_ids.items], object)
        self.users_by_row = dict(zip(raw_ids.user_rows, raw_ids.users, strict=True))

    def __call__(self, batch: Batch) -> Tensor:
        """(B, I) scores."""
        scores = torch.full((len(batch.history), len(self.raw_items)), -torch.inf)
        for row, answer in enumerate(self.sender.send(self._make_requests(batch), self.k)):
            scores[row, [self.item_numbers[item] for item in answer.items]] = torch.tensor(answer.scores)
        return scores

    def _make_requests(self, batch: Batch) -> list[CheckRequest]:
        history = self.raw_items[batch.history.numpy()]
        lengths = (batch.history > 0).sum(dim=1).tolist()
        columns = {column.input: self._decode(column, batch) for column in self.columns}
        event_inputs = {column.input for column in self.columns if column.group == "events"}
        deny: list[list[str]] = [[] for _ in lengths]
        for row, item in zip(*(index.tolist() for index in batch.seen or ()), strict=True):
            deny[row].append(self.raw_items[item])
        requests = []
        for row, length in enumerate(lengths):
            values = {name: rows[row][:length] if name in event_inputs else rows[row] for name, rows in columns.items()}
            requests.append(CheckRequest(history[row, :length].tolist(), values, batch.seen is not None, deny[row]))
        return requests

    def _decode(self, column: Column, batch: Batch) -> list[Any]:
        values = getattr(batch, column.group)[column.name].numpy()
        if column.value_type == "id":
            return [self.users_by_row.get(row, "") for row in values.tolist()]
        return column.decode(values[:, 0] if column.group == "request" else values)


class TopTenOverlap:
    """Ranks batches by a file and counts how many of its ten best items are among those of a model."""

    def __init__(self, scorer: FileScorer, model: Model, k: int) -> None:
        self.scorer, self.model, self.k = scorer, model, k
        self.n_same = self.n_listed = 0

    def __call__(self, batch: Batch) -> Tensor:
        """(B, I) scores of the file."""
        model_scores, file_scores = self.model(batch.inputs), self.scorer(batch)
        hide_seen(model_scores, batch)
        lowest = model_scores.topk(self.k, dim=1).values[:, -1:]
        top = file_scores.topk(self.k, dim=1)
        is_listed = top.values.isfinite()
        # ties may be broken either way
        is_same = model_scores.gather(1, top.indices) >= lowest - 1e-6 * lowest.abs()
        self.n_same += int((is_same & is_listed).sum())
        self.n_listed += int(is_listed.sum())
        return file_scores


def check_ranking(
    scorer: FileScorer, model: Model, dataset: Dataset, precision: str, n_users: int | None
) -> dict[str, Any]:
    """Overlap of the file's top 10 with that of the unrounded model on test users (None: all), and metrics of both.

    The dictionary goes into the manifest. Raises CheckError if the two are too far apart.
    """
    rows = sample_rows(make_ranking_batches(dataset, "test", model.max_history).rows, n_users)
    batches = make_ranking_batches(dataset, "test", model.max_history, rows=rows)
    k = min(10, dataset.n_items)
    top = TopTenOverlap(scorer, model, k)
    file_ranking = evaluate_scorer(top, dataset, batches, (k,))
    model_ranking = evaluate_scorer(lambda batch: model(batch.inputs), dataset, batches, (k,))
    overlap = top.n_same / max(top.n_listed, 1)
    ndcg, model_ndcg = file_ranking.metrics[f"ndcg@{k}"], model_ranking.metrics[f"ndcg@{k}"]
    limit = MIN_OVERLAP[precision]
    if top.n_listed - top.n_same > max(
        (1 - limit) * top.n_listed, 2
    ):  # among few users, one or two swaps may exceed the limit
        raise CheckError(f"the top 10 overlap the model's by {overlap:.4f} < {limit} in {precision}")
    if abs(ndcg - model_ndcg) > max(NDCG_TOLERANCE * model_ndcg, 1 / file_ranking.n_users):
        raise CheckError(f"NDCG@{k} is {ndcg:.4f} by the file and {model_ndcg:.4f} by the model")
    metrics = {name: value for name, value in file_ranking.metrics.items() if "@" in name}
    return {"overlap@10": overlap, f"ndcg@{k}": model_ndcg, "file": metrics, "n_users": file_ranking.n_users}
