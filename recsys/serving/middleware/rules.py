"""A shop's rules for its lists: stock, regions, age limits, boosts, caps, variety and exploration.

n candidates, best first; k items in the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from typing_extensions import override

from recsys.errors import ConfigError
from recsys.serving.item_table import ItemTable


@dataclass(frozen=True)
class Candidates:
    """Items in order, of which the first k become the list."""

    rows: np.ndarray
    """(n,) their rows in the table of items"""
    scores: np.ndarray
    """(n,) descending, in standard deviations of the model's best scores, so that a weight means the same everywhere"""
    order: np.ndarray
    """(n,) their positions in the model's list"""
    propensities: np.ndarray
    """(n,) the probability with which an item appears at its position"""

    def take(self, positions: np.ndarray) -> "Candidates":
        """Return the candidates at these positions, in this order."""
        return Candidates(
            self.rows[positions], self.scores[positions], self.order[positions], self.propensities[positions]
        )


@dataclass(frozen=True)
class RuleContext:
    """The data that rules may use in addition to the candidates: the table of items, and the request."""

    table: ItemTable
    k: int
    history: Sequence[str]
    now: float
    """seconds since 1970"""
    random: np.random.Generator
    facts: Mapping[str, Any]
    """the request's values by name, such as a region"""


class ShopRule(Protocol):
    """Removes candidates or changes their order."""

    def __call__(self, candidates: Candidates, context: RuleContext, /) -> Candidates:
        """Return the candidates that remain, best first."""
        ...


@dataclass(frozen=True)
class Between(ShopRule):
    """Keeps items whose number in a column is within bounds, such as a stock of at least 1; null is out of bounds."""

    column: str
    least: float | None = None
    most: float | None = None
    most_asked: str | None = None
    """name of the request's fact that is the upper bound, such as the customer's age; `most` if the request lacks it"""

    @override
    def __call__(self, candidates: Candidates, context: RuleContext) -> Candidates:
        values, most = context.table.numbers(self.column)[candidates.rows], self.most
        if self.most_asked is not None:
            most = context.facts.get(self.most_asked, most)
        keep = ~np.isnan(values)
        keep &= values >= (-np.inf if self.least is None else self.least)
        keep &= values <= (np.inf if most is None else float(most))
        return candidates.take(np.flatnonzero(keep))


@dataclass(frozen=True)
class Matches(ShopRule):
    """Keeps items whose column holds the request's value, such as its region; `|` separates values, null matches all.

    Keeps all items if the request lacks the fact `asked`.
    """

    column: str
    asked: str

    @override
    def __call__(self, candidates: Candidates, context: RuleContext) -> Candidates:
        value = context.facts.get(self.asked)
        if value is None:
            return candidates
        texts = context.table.texts(self.column)
        keep = [texts[row] is None or str(value) in texts[row].split("|") for row in candidates.rows]
        return candidates.take(np.flatnonzero(keep))


@dataclass(frozen=True)
class NotBought(ShopRule):
    """Removes items of the history, except consumables: items whose number in a column is not 0."""

    consumable: str

    @override
    def __call__(self, candidates: Candidates, context: RuleContext) -> Candidates:
        is_consumable = np.nan_to_num(context.table.numbers(self.consumable))[candidates.rows] != 0
        is_bought = np.isin(candidates.rows, context.table.rows(context.history))
        return candidates.take(np.flatnonzero(is_consumable | ~is_bought))


@dataclass(frozen=True)
class Boost(ShopRule):
    """Adds `weight` × a column to an item's score, in standard deviations of the scores; null adds nothing.

    With `half_life_days` the column is the time an item was added, and the boost halves in that many days. Items with
    equal scores keep their order.
    """

    column: str
    weight: float = 0.0
    half_life_days: float | None = None

    @override
    def __call__(self, candidates: Candidates, context: RuleContext) -> Candidates:
        values = context.table.numbers(self.column)[candidates.rows]
        if self.half_life_days is not None:
            values = 0.5 ** (np.maximum(context.now - values, 0) / 86_400 / self.half_life_days)
        scores = candidates.scores + self.weight * np.nan_to_num(values)
        return replace(candidates, scores=scores).take(np.argsort(-scores, kind="stable"))


@dataclass(frozen=True)
class Cap(ShopRule):
    """Keeps the best `most` items of each value of a column, such as a brand; items with null are never capped."""

    column: str
    most: int

    @override
    def __call__(self, candidates: Candidates, context: RuleContext) -> Candidates:
        codes = context.table.codes(self.column)[candidates.rows]
        order = np.argsort(codes, kind="stable")
        sorted_codes = codes[order]
        rank_in_code = np.arange(len(codes)) - np.searchsorted(sorted_codes, sorted_codes)
        keep = np.empty(len(codes), bool)
        keep[order] = (rank_in_code < self.most) | (sorted_codes < 0)
        return candidates.take(np.flatnonzero(keep))


@dataclass(frozen=True)
class Diversify(ShopRule):
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): picks k items one by one, each with the largest
    `relevance` × score − (1 − `relevance`) × similarity to the most similar item already picked.

    Scores are scaled to 0-1; similarity is the fraction of `columns` in which two items are equal. The other
    candidates follow in their order.
    """

    columns: Sequence[str]
    relevance: float = 1.0

    @override
    def __call__(self, candidates: Candidates, context: RuleContext) -> Candidates:
        if self.relevance >= 1 or len(candidates.rows) < 2:
            return candidates
        codes = np.stack([context.table.codes(column)[candidates.rows] for column in self.columns])
        lowest = candidates.scores[-1]
        gain = self.relevance * (candidates.scores - lowest) / ((candidates.scores[0] - lowest) or 1.0)
        similarity, is_picked = np.zeros(len(gain)), np.zeros(len(gain), bool)
        positions: list[int] = []
        while len(positions) < min(context.k, len(gain)):
            best = int(np.argmax(np.where(is_picked, -np.inf, gain - (1 - self.relevance) * similarity)))
            is_picked[best] = True
            positions.append(best)
            equal = ((codes == codes[:, [best]]) & (codes >= 0)).mean(axis=0)
            similarity = np.maximum(similarity, equal)
        return candidates.take(np.concatenate([positions, np.flatnonzero(~is_picked)]).astype(np.int64))


@dataclass(frozen=True)
class Explore(ShopRule):
    """Replaces each of the last `slots` items, with probability `share`, by a candidate from below the list, drawn
    uniformly; `propensities` then hold the probability of what is shown, for estimates from logs.
    """

    slots: int
    share: float = 0.0

    @override
    def __call__(self, candidates: Candidates, context: RuleContext) -> Candidates:
        below = list(range(context.k, len(candidates.rows)))
        positions, propensities = np.arange(len(candidates.rows)), candidates.propensities.copy()
        for slot in range(max(context.k - self.slots, 0), min(context.k, len(positions))):
            if not below or self.share <= 0:
                break
            if context.random.random() >= self.share:
                propensities[slot] *= 1 - self.share
                continue
            drawn = below.pop(int(context.random.integers(len(below))))
            positions[slot] = drawn
            propensities[slot] = self.share / (len(below) + 1)
        positions = positions[: min(context.k, len(positions))]
        return replace(candidates.take(positions), propensities=propensities[: len(positions)])


def check_rules(rules: Mapping[str, ShopRule], table: ItemTable) -> None:
    """Raise ConfigError for a rule whose columns the table lacks, or whose share or relevance is not within 0 to 1."""
    context = RuleContext(table, 1, [], 0.0, np.random.default_rng(0), {})
    empty = np.zeros(0)
    for name, rule in rules.items():
        for setting in ("share", "relevance"):
            value = getattr(rule, setting, 0)
            if not 0 <= value <= 1:
                raise ConfigError(f"rule {name}: {setting}={value} is invalid: expected a number between 0 and 1")
        rule(Candidates(empty.astype(np.int64), empty, empty, empty), context)
