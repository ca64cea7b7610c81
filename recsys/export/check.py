"""A file is held against torch before it gets its name.

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
from recsys.export.graph import Words
from recsys.export.inputs import Column
from recsys.export.reference import Drawn, Reference, Request
from recsys.models.base import Model
from recsys.serving.recommender import Recommendation, Recommender

RELATIVE = 1e-4
OVERLAP = {"float32": 0.998, "float16": 0.998, "int8": 0.99}
"""share of the ten best items that must be among the model's own ten best"""
LISTED = 1_000_000
"""items that the answers of one batch may list: of a large catalogue, all of it would not fit into memory"""
NDCG = 0.005
"""how far NDCG@10 may be off, relatively"""


class CheckError(RuntimeError):
    """A file that does not answer as the model does."""


class Asker:
    """Puts requests to a file; of their columns only those that the file takes."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        inputs = recommender.describe()["inputs"]
        self.own = {name: column["of"] for name, column in inputs.items() if "of" in column}

    def ask(self, requests: Sequence[Request], k: int, allow: list[str] | None = None) -> list[Recommendation]:
        """The file's answers."""
        columns = [{name: r.columns[name] for name in self.own if name != "user"} for r in requests]
        users = [r.columns["user"] if "user" in self.own else None for r in requests]
        found: list[Recommendation] = self.recommender.recommend(
            [r.history for r in requests],
            user=users,
            context=columns,
            k=k,
            exclude_seen=[r.exclude_seen for r in requests],
            allow=allow,
            deny=[r.deny for r in requests],
        )
        return found


def check_answers(asker: Asker, reference: Reference, drawn: Drawn, exact: bool) -> int:
    """The number of requests answered rightly, in batches of 1, 2 and 64; CheckError for a wrong one.

    `exact` false: an item may be missing from a list (8 bits), though every score must be right.
    """
    n = 0
    long = drawn.longest
    lengths: list[list[int | None]] = [[0], [1], [2], [long], [long + 7], [0, long + 7], [1, 2], [None] * 64]
    for batch in lengths:
        for allow in (None, drawn.allowed()):
            requests = [drawn.request(length) for length in batch]
            k = int(drawn.rng.choice([1, 5, 10, min(len(drawn.items), LISTED // len(batch))]))
            for request, found in zip(requests, asker.ask(requests, k, allow), strict=True):
                _compare(found, reference.scores(request, allow), reference.number, k, exact)
                n += 1
    _check_padding(asker, drawn)
    return n


def _compare(found: Recommendation, scores: np.ndarray, number: dict[str, int], k: int, exact: bool) -> None:
    given = np.array(found.scores)
    if np.isnan(scores).any() or np.isnan(given).any():
        raise CheckError(f"{np.isnan(given).sum()} scores of the file and {np.isnan(scores).sum()} of torch are NaN")
    numbers = [number[item] for item in found.items]
    left = int(np.isfinite(scores).sum())
    if len(set(numbers)) < len(numbers) or len(numbers) != min(k, left):
        raise CheckError(f"a list has {len(set(numbers))} items instead of {min(k, left)}")
    wanted = scores[numbers]
    if not np.isfinite(wanted).all():
        raise CheckError(f"item {found.items[int(np.isfinite(wanted).argmin())]} is listed, which torch leaves out")
    allowance = RELATIVE * np.abs(wanted) + 0.1 * RELATIVE * np.abs(scores[np.isfinite(scores)]).max(initial=1.0)
    off = np.abs(given - wanted) - allowance
    if (off > 0).any():
        place = int(off.argmax())
        raise CheckError(
            f"item {found.items[place]} scores {given[place]:.6g} in the file, {wanted[place]:.6g} in torch"
        )
    best = np.sort(scores)[::-1][: len(numbers)]
    if exact and (np.abs(np.sort(wanted)[::-1] - best) > 2 * allowance.max(initial=0)).any():
        raise CheckError(f"a list of {k} leaves out an item that scores higher in torch")


def _check_padding(asker: Asker, drawn: Drawn) -> None:
    """A short history is answered alike alone and beside a long one."""
    short, long = drawn.request(2), drawn.request(drawn.longest)
    alone, beside = asker.ask([short], 10)[0], asker.ask([short, long], 10)[0]
    if not np.allclose(alone.scores, beside.scores, RELATIVE, RELATIVE):
        raise CheckError("a history is answered otherwise beside a longer one")


class FileScorer:
    """A file as a scorer of batches: −inf for all but the best k."""

    def __init__(self, asker: Asker, dataset: Dataset, columns: Sequence[Column], words: Words, k: int) -> None:
        self.asker, self.dataset, self.columns, self.words, self.k = asker, dataset, columns, words, k
        self.number = {raw: n for n, raw in enumerate(words.items, start=1)}
        self.raw = np.array(["", *words.items], object)
        self.user_of = dict(zip(words.user_rows, words.users, strict=True))

    def __call__(self, batch: Batch) -> Tensor:
        """(B, I) scores."""
        history = self.raw[batch.history.numpy()]
        lengths = (batch.history > 0).sum(dim=1).tolist()
        columns = {column.input: self._spoken(column, batch) for column in self.columns}
        deny: list[list[str]] = [[] for _ in lengths]
        for row, item in zip(*(part.tolist() for part in batch.seen or ()), strict=True):
            deny[row].append(self.raw[item])
        requests = []
        for row, n in enumerate(lengths):
            own = {c.input: columns[c.input][row][:n] if c.part == "events" else columns[c.input][row]
                   for c in self.columns}  # fmt: skip
            requests.append(Request(history[row, :n].tolist(), own, batch.seen is not None, deny[row]))
        scores = torch.full((len(lengths), len(self.raw)), -torch.inf)
        for row, found in enumerate(self.asker.ask(requests, self.k)):
            scores[row, [self.number[item] for item in found.items]] = torch.tensor(found.scores)
        return scores

    def _spoken(self, column: Column, batch: Batch) -> list[Any]:
        values = getattr(batch, column.part)[column.name].numpy()
        if column.kind == "id":
            return [self.user_of.get(row, "") for row in values.tolist()]
        return column.spoken(values[:, 0] if column.part == "request" else values)


def check_ranking(
    scorer: FileScorer, model: Model, dataset: Dataset, precision: str, n_users: int | None
) -> dict[str, Any]:
    """What the manifest says of the file beside the unrounded model on test users (None: all): the overlap of their
    ten best items, and the metrics by either; CheckError where they are too far apart.
    """
    rows = sample_rows(make_ranking_batches(dataset, "test", model.max_history).rows, n_users)
    batches = make_ranking_batches(dataset, "test", model.max_history, rows=rows)
    k, shared = min(10, dataset.n_items), [0, 0]

    def both(batch: Batch) -> Tensor:
        own, file = model(batch.inputs), scorer(batch)
        hide_seen(own, batch)
        tenth = own.topk(k, dim=1).values[:, -1:]
        ten = file.topk(k, dim=1)
        listed = ten.values.isfinite()
        same = own.gather(1, ten.indices) >= tenth - 1e-6 * tenth.abs()  # a tie may be broken either way
        shared[0] += int((same & listed).sum())
        shared[1] += int(listed.sum())
        return file

    file = evaluate_scorer(both, dataset, batches, (k,))
    own = evaluate_scorer(lambda batch: model(batch.inputs), dataset, batches, (k,))
    overlap = shared[0] / max(shared[1], 1)
    ndcg, wanted = file.metrics[f"ndcg@{k}"], own.metrics[f"ndcg@{k}"]
    if shared[1] - shared[0] > max((1 - OVERLAP[precision]) * shared[1], 2):  # a swap is much among few users
        raise CheckError(f"the top 10 overlap the model's by {overlap:.4f} < {OVERLAP[precision]} in {precision}")
    if abs(ndcg - wanted) > max(NDCG * wanted, 1 / file.n_users):
        raise CheckError(f"NDCG@{k} is {ndcg:.4f} through the file and {wanted:.4f} by the model")
    shown = {name: value for name, value in file.metrics.items() if "@" in name}
    return {"overlap@10": overlap, f"ndcg@{k}": wanted, "file": shown, "n_users": file.n_users}
