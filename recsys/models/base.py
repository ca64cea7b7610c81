"""What every model offers: scores of all items for each user.

B users, L history slots, Q query positions, I items with padding (item 0), D dimensions.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor, arange, inf, nn

from recsys.data.batches.batch import FeatureColumns as FeatureColumns
from recsys.data.batches.batch import ModelInputs as ModelInputs
from recsys.data.dataset import Dataset
from recsys.data.features import Encoder
from recsys.errors import DataError
from recsys.models.repeat import RepeatBonus


@dataclass(frozen=True)
class DataSpec:
    """What a model must know about the data before it is built."""

    n_users: int
    n_items: int
    max_history: int
    repeats: bool
    """whether items that a user already had are ranked too"""
    has_time: bool
    ordered: bool = True
    """whether histories keep the order of events"""
    short_histories: bool = False
    """whether users have few events, so that a model that learns from them overfits sooner"""
    user: dict[str, Encoder] = field(default_factory=dict)
    item: dict[str, Encoder] = field(default_factory=dict)
    context: dict[str, Encoder] = field(default_factory=dict)
    event: Encoder | None = None
    """types of past events, None where all events are targets"""
    target_events: tuple[str, ...] = ()

    @property
    def n_types(self) -> int:
        """The number of event types, the unknown type included; 0 where types do not matter."""
        return self.event.size if self.event else 0

    @classmethod
    def from_dataset(cls, dataset: Dataset, max_history: int) -> "DataSpec":
        """The specification of a prepared dataset."""
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
    dot_product: ClassVar[bool] = False
    """whether a score is the product of a query vector and an item vector"""
    max_history: int | None = None
    """the newest events of a history that the model reads; None: all"""

    @abstractmethod
    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The scores of all items for a query after the whole history; −inf for padding."""

    def fit(self, dataset: Dataset, part: str) -> None:
        """Learn from every event before `part` (validation or test); trained models have learned already."""

    def make_scorer(self) -> Callable[[ModelInputs], Float[Tensor, "B I"]]:
        """A function that scores inputs as `forward` does, valid while the model does not change."""
        return self

    def rows(self) -> Float[Tensor, "I I"] | None:
        """The row that each distinct item of a history adds to the scores, where scores are that sum; else None.

        An exported file then reads these rows alone.
        """
        return None


class ClosedForm(Model):
    """A model fitted in one step, whose results are buffers."""

    @abstractmethod
    def fit(self, dataset: Dataset, part: str) -> None:
        """Learn from every event before `part` (validation or test)."""


class Trainable(Model):
    """A model trained by gradient, which scores item vectors for query vectors."""

    dot_product: ClassVar[bool] = True
    repeat: RepeatBonus | None

    def prepare(self, dataset: Dataset) -> None:
        """Fill buffers from the data, once, before training."""

    @abstractmethod
    def encode(self, inputs: ModelInputs) -> Float[Tensor, "B Q D"]:
        """The query vectors: query q of user b sees the first `positions[b, q]` events and its own request columns."""

    @abstractmethod
    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... D"]:
        """The vectors of some items, or (I, D) of all, padding first."""

    def append(self, columns: FeatureColumns) -> None:  # noqa: ARG002 - a model that can take new items overrides it
        """Add items without events behind the others; `columns` holds their features, (N, width) each.

        Raises DataError for a model that knows items by their ids alone.
        """
        raise DataError(f"{type(self).__name__} knows items by their ids alone and can take no new ones; use two_tower")

    @abstractmethod
    def fold(self, matrix: Float[Tensor, "I D"]) -> None:
        """Read item vectors from `matrix` alone from now on, and drop what they were computed from.

        Export calls this with the vectors as the file stores them.
        """

    def score(self, queries: Float[Tensor, "*N Q D"], items: Float[Tensor, "*N C D"]) -> Float[Tensor, "*N Q C"]:
        """The score of each item vector for each query vector."""
        return queries @ items.transpose(-1, -2)

    def slot_scores(self, query: Float[Tensor, "B Q D"], inputs: ModelInputs) -> Float[Tensor, "B Q L"] | None:
        """The amount added to the score of the item in each history slot; None where repeats are not ranked."""
        if self.repeat is None:
            return None
        bonus: Tensor = self.repeat(self.score(query, self.item_vectors(inputs.history)), inputs)
        return bonus

    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The scores of all items for a query after the whole history; −inf for padding."""
        return self.scores(self.item_vectors(), inputs)

    def make_scorer(self) -> Callable[[ModelInputs], Float[Tensor, "B I"]]:
        """The item vectors are computed once, which saves time when many batches are ranked."""
        return partial(self.scores, self.item_vectors())

    def scores(self, items: Float[Tensor, "I D"], inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The same as `forward`, from `items`, the vectors of all items."""
        inputs = inputs.at_end()
        query = self.encode(inputs)
        scores = self.score(query[:, 0], items)
        bonus = self.slot_scores(query, inputs)
        if bonus is not None:
            scores = scores.scatter_add(1, inputs.history, bonus[:, 0].to(scores.dtype))
        return hide_padding(scores)


def hide_padding(scores: Float[Tensor, "B I"]) -> Float[Tensor, "B I"]:
    """Scores with −inf for padding."""
    return scores.masked_fill(arange(scores.shape[1], device=scores.device) == 0, -inf)


def __getattr__(name: str) -> object:
    """The classes by their names of before, which models of users may import until the next release."""
    renamed = {"Facts": DataSpec, "Columns": FeatureColumns}
    if name not in renamed:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    warnings.warn(f"recsys.models.base.{name} is now {renamed[name]}", DeprecationWarning, stacklevel=2)
    return renamed[name]
