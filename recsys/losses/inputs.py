"""What a loss is asked: queries, their targets, and how to score any items for them.

M queries, T targets, I items with padding (item 0), C candidates, D dimensions, L slots a query.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Scorer(Protocol):
    """The part of a trainable model that losses call."""

    dot_product: ClassVar[bool]
    """whether `score` is the product of query and item vector"""

    def item_vectors(self, items: Tensor | None = None) -> Tensor:
        """The vectors of some items, or of all of them."""
        ...

    def score(self, queries: Tensor, items: Tensor) -> Tensor:
        """Scores (…, Q, C) of queries (…, Q, D) and item vectors (…, C, D)."""
        ...


@dataclass(frozen=True)
class Question:
    """`target_query` says which query a target answers; `slots` are items of each query's history and what is
    added to their scores.
    """

    scorer: Scorer
    queries: Float[Tensor, "M D"]
    target: Int[Tensor, " T"]
    target_query: Int[Tensor, " T"]
    item_counts: Int[Tensor, " I"]
    """training events of each item, 0 for padding"""
    weight: Float[Tensor, " T"] | None = None
    slots: tuple[Int[Tensor, "M L"], Float[Tensor, "M L"]] | None = None
    starts: np.ndarray | None = None
    """(M+1,) where the targets of each query start and end, if the batch says it"""

    def edges(self, chunk: int) -> list[int]:
        """Where the targets of every `chunk` queries start, and where the last end."""
        n = len(self.queries)
        at = [*range(0, n, chunk), n]
        if self.starts is not None:
            return [int(start) for start in self.starts[at]]
        return torch.searchsorted(self.target_query, torch.tensor(at, device=self.target.device)).tolist()

    @property
    def weights(self) -> Float[Tensor, " T"]:
        """The weight of each target, 1 by default."""
        return torch.ones_like(self.target, dtype=self.queries.dtype) if self.weight is None else self.weight

    def target_scores(self) -> Float[Tensor, " T"]:
        """The score of each target for its query."""
        queries, vectors = self.queries[self.target_query], self.scorer.item_vectors(self.target)
        scores = self.scorer.score(queries[:, None], vectors[:, None])[:, 0, 0]
        if self.slots is None:
            return scores
        same = self.slots[0][self.target_query] == self.target[:, None]
        return scores + (self.slots[1][self.target_query] * same).sum(dim=1)

    def candidate_scores(self, items: Int[Tensor, " C"]) -> Float[Tensor, "M C"]:
        """The scores of shared candidates, sorted by item; of an item that comes twice the first is right."""
        scores = self.scorer.score(self.queries, self.scorer.item_vectors(items))
        if self.slots is None:
            return scores
        place = torch.searchsorted(items, self.slots[0]).clamp(max=len(items) - 1)
        return scores.scatter_add(1, place, (self.slots[1] * (items[place] == self.slots[0])).to(scores.dtype))
