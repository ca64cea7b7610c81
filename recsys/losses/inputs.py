"""The inputs of a loss: queries, their targets, and the model that scores items for them.

M queries, T targets, I items with padding (item 0), C candidates, D dimensions, L history slots.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class ItemScorer(Protocol):
    """The part of a trainable model that losses call."""

    dot_product: ClassVar[bool]
    """whether `score` is the dot product of query and item vectors"""

    def item_vectors(self, items: Tensor | None = None) -> Tensor:
        """The vectors of some items; of all items if `items` is None."""
        ...

    def score(self, queries: Tensor, items: Tensor) -> Tensor:
        """The scores (…, Q, C) of item vectors (…, C, D) for queries (…, Q, D)."""
        ...


@dataclass(frozen=True)
class LossInputs:
    """The queries of a batch, their targets, and the model that scores items for them."""

    scorer: ItemScorer
    queries: Float[Tensor, "M D"]
    targets: Int[Tensor, " T"]
    target_query: Int[Tensor, " T"]
    """the query of each target, in ascending order"""
    item_counts: Int[Tensor, " I"]
    """training events of each item, 0 for padding"""
    weights: Float[Tensor, " T"] | None = None
    """the weight of each target; None: 1"""
    slots: tuple[Int[Tensor, "M L"], Float[Tensor, "M L"]] | None = None
    """the items of each query's history and the bonus added to their scores"""
    target_starts: np.ndarray | None = None
    """(M+1,) where the targets of each query start and end, if the batch has computed it"""

    def chunk_edges(self, chunk: int) -> list[int]:
        """Where the targets of each chunk of `chunk` queries start, and where the last end."""
        n = len(self.queries)
        first_queries = [*range(0, n, chunk), n]
        if self.target_starts is not None:
            return [int(start) for start in self.target_starts[first_queries]]
        return torch.searchsorted(self.target_query, torch.tensor(first_queries, device=self.targets.device)).tolist()

    def target_weights(self) -> Float[Tensor, " T"]:
        """The weight of each target, 1 by default."""
        return torch.ones_like(self.targets, dtype=self.queries.dtype) if self.weights is None else self.weights

    def target_scores(self) -> Float[Tensor, " T"]:
        """The score of each target for its query."""
        queries, vectors = self.queries[self.target_query], self.scorer.item_vectors(self.targets)
        scores = self.scorer.score(queries[:, None], vectors[:, None])[:, 0, 0]
        if self.slots is None:
            return scores
        same_item = self.slots[0][self.target_query] == self.targets[:, None]
        return scores + (self.slots[1][self.target_query] * same_item).sum(dim=1)

    def candidate_scores(self, items: Int[Tensor, " C"]) -> Float[Tensor, "M C"]:
        """The scores of candidates, sorted by item, for every query.

        If an item occurs several times, only its first score includes the bonus of the history slots.
        """
        scores = self.scorer.score(self.queries, self.scorer.item_vectors(items))
        if self.slots is None:
            return scores
        column = torch.searchsorted(items, self.slots[0]).clamp(max=len(items) - 1)
        return scores.scatter_add(1, column, (self.slots[1] * (items[column] == self.slots[0])).to(scores.dtype))
