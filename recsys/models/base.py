"""The contract of every model: scores of all items for each user.

B users, L history slots, Q query positions, I items with padding (item 0), D dimensions.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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
    """The sizes and columns of a dataset that a model is built for."""

    n_users: int
    n_items: int
    max_history: int
    repeats: bool
    """whether items that the user already had are ranked too"""
    has_time: bool
    ordered: bool = True
    """whether histories keep the order of their events"""
    short_histories: bool = False
    """whether users have few events, so that models overfit sooner"""
    user: dict[str, Encoder] = field(default_factory=dict)
    item: dict[str, Encoder] = field(default_factory=dict)
    context: dict[str, Encoder] = field(default_factory=dict)
    event: Encoder | None = None
    """the types of past events; None where all events are targets"""
    target_events: tuple[str, ...] = ()

    @property
    def n_types(self) -> int:
        """The number of event types, including the unknown type; 0 where events have no types."""
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
    """A model that scores the whole catalogue; it is ranked and exported by its scores."""

    order_aware: ClassVar[bool] = False
    """whether scores depend on the order of the history"""
    dot_product: ClassVar[bool] = False
    """whether a score is the dot product of a query vector and an item vector"""
    max_history: int | None = None
    """the number of newest events that the model reads; None: all"""

    @abstractmethod
    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The scores of all items for one query after the whole history; −inf for padding."""

    def fit(self, dataset: Dataset, part: str) -> None:
        """Fit the model to every event before `part` (validation or test); does nothing for trained models."""

    def make_scorer(self) -> Callable[[ModelInputs], Float[Tensor, "B I"]]:
        """A function that scores inputs as `forward` does, valid until the model changes."""
        return self

    def rows(self) -> Float[Tensor, "I I"] | None:
        """The row of scores that each distinct item of the history adds; None if scores are not such a sum.

        An exported file then reads only the rows of the history.
        """
        return None


class ClosedForm(Model):
    """A model that is fitted in one step and keeps its results in buffers."""

    @abstractmethod
    def fit(self, dataset: Dataset, part: str) -> None:
        """Fit the model to every event before `part` (validation or test)."""


class Trainable(Model):
    """A model trained by gradient descent, which scores item vectors against query vectors."""

    dot_product: ClassVar[bool] = True
    repeat: RepeatBonus | None

    def prepare(self, dataset: Dataset) -> None:
        """Fill buffers and initial weights from the data, once, before training."""

    @abstractmethod
    def encode(self, inputs: ModelInputs) -> Float[Tensor, "B Q D"]:
        """The query vectors: query q of user b sees the first `positions[b, q]` events and its own request columns."""

    @abstractmethod
    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... D"]:
        """The vectors of some items; of all items, padding first, if `items` is None."""

    def append(self, columns: FeatureColumns) -> None:
        """Add items without events after the others; `columns` holds their features, (N, width) each.

        Raises DataError if the model knows items by their ids alone.
        """
        features = f" by their features ({', '.join(columns)})" if columns else ""
        raise DataError(
            f"{type(self).__name__} knows items by their ids alone: it cannot add items{features}; use two_tower"
        )

    @abstractmethod
    def fold(self, matrix: Float[Tensor, "I D"]) -> None:
        """Read item vectors from `matrix` from now on, and drop the weights they were computed from.

        Export calls it with the vectors as the file stores them.
        """

    def score(self, queries: Float[Tensor, "*N Q D"], items: Float[Tensor, "*N C D"]) -> Float[Tensor, "*N Q C"]:
        """The score of each item vector for each query vector."""
        return queries @ items.transpose(-1, -2)

    def slot_scores(self, query: Float[Tensor, "B Q D"], inputs: ModelInputs) -> Float[Tensor, "B Q L"] | None:
        """The bonus for the item in each history slot, to be added to its score; None if repeats are not ranked."""
        if self.repeat is None:
            return None
        bonus: Tensor = self.repeat(self.score(query, self.item_vectors(inputs.history)), inputs)
        return bonus

    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The scores of all items for one query after the whole history; −inf for padding."""
        return self.scores(self.item_vectors(), inputs)

    def make_scorer(self) -> Callable[[ModelInputs], Float[Tensor, "B I"]]:
        """A function that scores inputs as `forward` does, with item vectors computed once for all batches."""
        return partial(self.scores, self.item_vectors())

    def scores(self, items: Float[Tensor, "I D"], inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The scores that `forward` returns, from the vectors of all items."""
        # (B 1 D) one query vector for each user, after the whole history
        inputs = inputs.at_end()
        query = self.encode(inputs)
        # (B I) its score with every item, plus (B 1 L) the bonus of each history slot
        scores = self.score(query[:, 0], items)
        bonus = self.slot_scores(query, inputs)
        if bonus is not None:
            scores = scores.scatter_add(1, inputs.history, bonus[:, 0].to(scores.dtype))
        return hide_padding(scores)


def make_repeat_bonus(
    spec: DataSpec, repeat: bool | None, half_lives: Sequence[float], sparse: bool
) -> RepeatBonus | None:
    """The bonus of items that a user already had; None unless `repeat` is true (None: where the data rank repeats)."""
    if not (spec.repeats if repeat is None else repeat):
        return None
    return RepeatBonus(spec.n_items, half_lives, spec.has_time, spec.n_types, sparse)


def hide_padding(scores: Float[Tensor, "B I"]) -> Float[Tensor, "B I"]:
    """The scores with −inf for padding (item 0)."""
    return scores.masked_fill(arange(scores.shape[1], device=scores.device) == 0, -inf)


def __getattr__(name: str) -> object:
    """Classes by their old names, which users' own models may import until the next release."""
    renamed = {"Facts": DataSpec, "Columns": FeatureColumns}
    if name not in renamed:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    warnings.warn(
        f"recsys.models.base.{name} is now recsys.models.base.{renamed[name].__name__}",
        DeprecationWarning,
        stacklevel=2,
    )
    return renamed[name]
