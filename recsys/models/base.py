"""What every model offers: scores of all items for the last query of each user.

B users, L history slots, Q queries a user, I items with padding (item 0), D dimensions.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.data.dataset import Dataset
from recsys.data.features import Encoder
from recsys.errors import DataError
from recsys.models.repeat import Repeat

Columns = dict[str, Tensor]


@dataclass(frozen=True)
class Facts:
    """What a model must know of the data before it is built."""

    n_users: int
    n_items: int
    max_history: int
    repeats: bool
    """whether items that a user already had are ranked too"""
    has_time: bool
    ordered: bool = True
    """whether histories keep the order of events"""
    short: bool = False
    """whether histories are short, so that whoever learns from them overfits sooner"""
    user: dict[str, Encoder] = field(default_factory=dict)
    item: dict[str, Encoder] = field(default_factory=dict)
    context: dict[str, Encoder] = field(default_factory=dict)
    event: Encoder | None = None
    """types of past events, None where all events are targets"""
    target_events: tuple[str, ...] = ()

    @property
    def n_types(self) -> int:
        """The number of types of events, unknown included; 0 where types do not matter."""
        return self.event.size if self.event else 0

    @classmethod
    def of(cls, dataset: Dataset, max_history: int) -> "Facts":
        """The facts of a prepared dataset."""
        return cls(
            dataset.n_users,
            dataset.n_items,
            max_history,
            not dataset.exclude_seen,
            dataset.timestamps is not None,
            dataset.ordered,
            dataset.has_short_histories,
            **dataset.encoders,
            event=dataset.event,
            target_events=tuple(dataset.metadata["target_events"] or ()),
        )


class Model(nn.Module, ABC):
    """Scores the whole catalogue; this is what is ranked and exported."""

    order_aware: ClassVar[bool] = False
    """whether a shuffled history would mean something else"""

    @abstractmethod
    def forward(
        self, user: Columns, history: Int[Tensor, "B L"], events: Columns, request: Columns
    ) -> Float[Tensor, "B I"]:
        """Scores of all items for a query after the whole history; −inf for padding."""


class ClosedForm(Model):
    """A model fitted in one go, whose results are buffers."""

    @abstractmethod
    def fit(self, dataset: Dataset, part: str) -> None:
        """Learn from every event before `part` (validation or test)."""

    def rows(self) -> Float[Tensor, "I I"] | None:
        """What each distinct item of a history adds to the scores, where they are that sum; None elsewhere. An
        exported file then reads these rows alone.
        """
        return None


class Trainable(Model):
    """A model trained by gradient, which scores item vectors for query vectors.

    Query q sees only the first `ask[b, q]` events and the request columns of its own moment.
    """

    dot_product: ClassVar[bool] = True
    """whether `score` is the product of query and item vector"""
    repeat: Repeat | None

    def prepare(self, dataset: Dataset) -> None:
        """Take what buffers need from the data, once, before training."""

    @abstractmethod
    def encode(
        self,
        user: Columns,
        history: Int[Tensor, "B L"],
        events: Columns,
        request: Columns,
        ask: Int[Tensor, "B Q"],
    ) -> Float[Tensor, "B Q D"]:
        """The query vectors."""

    @abstractmethod
    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... D"]:
        """The vectors of some items, or (I, D) of all, padding first."""

    def append(self, columns: Columns) -> None:  # noqa: ARG002 - a model that can says so
        """Take items without events behind the others, of whose features `columns` holds (N, width) each; DataError
        for a model that knows items by their ids alone.
        """
        raise DataError(f"{type(self).__name__} knows items by their ids alone and can take no new ones; use two_tower")

    @abstractmethod
    def fold(self, matrix: Float[Tensor, "I D"]) -> None:
        """Read item vectors from `matrix` alone from now on, and drop what they were computed from: export does
        so with the vectors as the file stores them.
        """

    def score(self, queries: Float[Tensor, "*N Q D"], items: Float[Tensor, "*N C D"]) -> Float[Tensor, "*N Q C"]:
        """The score of each item vector for each query vector."""
        return queries @ items.transpose(-1, -2)

    def slot_scores(
        self,
        query: Float[Tensor, "B Q D"],
        history: Int[Tensor, "B L"],
        events: Columns,
        request: Columns,
        ask: Int[Tensor, "B Q"],
    ) -> Float[Tensor, "B Q L"] | None:
        """What is added to the score of the item in each history slot; None where repeats are not ranked."""
        if self.repeat is None:
            return None
        return self.repeat(self.score(query, self.item_vectors(history)), history, events, request, ask)

    def forward(
        self, user: Columns, history: Int[Tensor, "B L"], events: Columns, request: Columns
    ) -> Float[Tensor, "B I"]:
        """Scores of all items for a query after the whole history; −inf for padding."""
        return self.scores(self.item_vectors(), user, history, events, request)

    def scores(
        self,
        items: Float[Tensor, "I D"],
        user: Columns,
        history: Int[Tensor, "B L"],
        events: Columns,
        request: Columns,
    ) -> Float[Tensor, "B I"]:
        """The same by `items`, the vectors of all items, which ranking many computes once."""
        ask = (history > 0).sum(dim=1, keepdim=True)
        query = self.encode(user, history, events, request, ask)
        scores = self.score(query[:, 0], items)
        extra = self.slot_scores(query, history, events, request, ask)
        if extra is not None:
            scores = scores.scatter_add(1, history, extra[:, 0].to(scores.dtype))
        return pad_hidden(scores)


def pad_hidden(scores: Float[Tensor, "B I"]) -> Float[Tensor, "B I"]:
    """Scores with −inf for padding."""
    return scores.masked_fill(torch.arange(scores.shape[1], device=scores.device) == 0, -torch.inf)
