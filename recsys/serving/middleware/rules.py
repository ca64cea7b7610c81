"""A shop's rules for its lists: what never appears, what rises, how often, how varied, and what is tried out.

n candidates, best first; k items of the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from recsys.errors import ConfigError
from recsys.serving.item_table import ItemTable


@dataclass(frozen=True)
class Candidates:
    """Items from which the first k will be the list."""

    rows: np.ndarray
    """(n,) their rows in the table of items"""
    scores: np.ndarray
    """(n,) falling, in standard deviations of the model's best: what a rule adds means the same for every model"""
    order: np.ndarray
    """(n,) which place each had in the model's list"""
    chances: np.ndarray
    """(n,) how probable it was that an item stands where it stands"""

    def take(self, places: np.ndarray) -> "Candidates":
        """The candidates at these places, in this order."""
        return Candidates(self.rows[places], self.scores[places], self.order[places], self.chances[places])


@dataclass(frozen=True)
class Occasion:
    """For whom and when a list is made, and what the shop knows of its items."""

    table: ItemTable
    k: int
    history: Sequence[str]
    now: float
    """seconds since 1970"""
    draw: np.random.Generator
    facts: Mapping[str, Any]
    """values of the request by name, such as a region"""


class Rule(Protocol):
    """Takes candidates out, or changes their order."""

    def __call__(self, found: Candidates, on: Occasion) -> Candidates:
        """The candidates that remain, best first."""
        ...


@dataclass(frozen=True)
class Between:
    """Only items whose number in a column is within bounds, such as a stock of at least 1; null is not."""

    column: str
    least: float | None = None
    most: float | None = None
    most_asked: str | None = None
    """name of the request's value that is the upper bound, such as the customer's age; `most` where it does not say"""

    def __call__(self, found: Candidates, on: Occasion) -> Candidates:
        """The candidates within."""
        values, most = on.table.numbers(self.column)[found.rows], self.most
        if self.most_asked is not None:
            most = on.facts.get(self.most_asked, most)
        kept = ~np.isnan(values)
        kept &= values >= (-np.inf if self.least is None else self.least)
        kept &= values <= (np.inf if most is None else float(most))
        return found.take(np.flatnonzero(kept))


@dataclass(frozen=True)
class Matches:
    """Only items whose column holds the request's value, such as its region; `|` parts several, null suits all."""

    column: str
    asked: str

    def __call__(self, found: Candidates, on: Occasion) -> Candidates:
        """The candidates that match; all where the request does not say."""
        wanted = on.facts.get(self.asked)
        if wanted is None:
            return found
        texts = on.table.texts(self.column)
        kept = [texts[row] is None or str(wanted) in texts[row].split("|") for row in found.rows]
        return found.take(np.flatnonzero(kept))


@dataclass(frozen=True)
class NotBought:
    """No item of the history, but for consumables: those with a number other than 0 in a column."""

    consumable: str

    def __call__(self, found: Candidates, on: Occasion) -> Candidates:
        """The candidates that are new or wanted again."""
        again = np.nan_to_num(on.table.numbers(self.consumable))[found.rows] != 0
        bought = np.isin(found.rows, on.table.rows(on.history))
        return found.take(np.flatnonzero(again | ~bought))


@dataclass(frozen=True)
class Boost:
    """Adds `weight` times a column to an item's score, in standard deviations of the scores; null adds nothing.

    With `half_life_days` the column is the time an item came, and what is added halves in that many days.
    """

    column: str
    weight: float = 0.0
    half_life_days: float | None = None

    def __call__(self, found: Candidates, on: Occasion) -> Candidates:
        """The candidates in their new order; equal ones keep theirs."""
        values = on.table.numbers(self.column)[found.rows]
        if self.half_life_days is not None:
            values = 0.5 ** (np.maximum(on.now - values, 0) / 86_400 / self.half_life_days)
        scores = found.scores + self.weight * np.nan_to_num(values)
        return replace(found, scores=scores).take(np.argsort(-scores, kind="stable"))


@dataclass(frozen=True)
class Cap:
    """At most so many items of each value of a column, such as a brand; null is no value."""

    column: str
    most: int

    def __call__(self, found: Candidates, on: Occasion) -> Candidates:
        """The best candidates of each value."""
        codes = on.table.codes(self.column)[found.rows]
        order = np.argsort(codes, kind="stable")
        sorted_codes = codes[order]
        place = np.arange(len(codes)) - np.searchsorted(sorted_codes, sorted_codes)
        kept = np.empty(len(codes), bool)
        kept[order] = (place < self.most) | (sorted_codes < 0)
        return found.take(np.flatnonzero(kept))


@dataclass(frozen=True)
class Diversify:
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): an item's place is `relevance` times its score less
    1 − `relevance` times the share of columns in which it equals the most similar item above it.
    """

    columns: Sequence[str]
    relevance: float = 1.0

    def __call__(self, found: Candidates, on: Occasion) -> Candidates:
        """The k that are chosen one after the other, then the rest in its order; scores count from 0 to 1."""
        if self.relevance >= 1 or len(found.rows) < 2:
            return found
        codes = np.stack([on.table.codes(column)[found.rows] for column in self.columns])
        width = found.scores[0] - found.scores[-1]
        gain = self.relevance * (found.scores - found.scores[-1]) / (width or 1.0)
        nearest, chosen = np.zeros(len(gain)), np.zeros(len(gain), bool)
        places: list[int] = []
        while len(places) < min(on.k, len(gain)):
            best = int(np.argmax(np.where(chosen, -np.inf, gain - (1 - self.relevance) * nearest)))
            chosen[best] = True
            places.append(best)
            same = ((codes == codes[:, [best]]) & (codes >= 0)).mean(axis=0)
            nearest = np.maximum(nearest, same)
        return found.take(np.concatenate([places, np.flatnonzero(~chosen)]).astype(np.int64))


@dataclass(frozen=True)
class Explore:
    """Each of the last `slots` places shows, with probability `share`, one of the candidates below the list, drawn
    alike; `chances` then say how probable what is shown was, for estimates from logs.
    """

    slots: int
    share: float = 0.0

    def __call__(self, found: Candidates, on: Occasion) -> Candidates:
        """The candidates with some of the k changed for others."""
        below = list(range(on.k, len(found.rows)))
        places, chances = np.arange(len(found.rows)), found.chances.copy()
        for slot in range(max(on.k - self.slots, 0), min(on.k, len(places))):
            if not below or self.share <= 0:
                break
            if on.draw.random() >= self.share:
                chances[slot] *= 1 - self.share
                continue
            drawn = below.pop(int(on.draw.integers(len(below))))
            places[slot] = drawn
            chances[slot] = self.share / (len(below) + 1)
        kept = places[: min(on.k, len(places))]
        return replace(found.take(kept), chances=chances[: len(kept)])


def check_rules(rules: Mapping[str, Rule], table: ItemTable) -> None:
    """Raises ConfigError for a rule that the table cannot serve, or that has a share or relevance out of 0 to 1."""
    nobody = Occasion(table, 1, [], 0.0, np.random.default_rng(0), {})
    none = np.zeros(0)
    for name, rule in rules.items():
        for value in ("share", "relevance"):
            if not 0 <= getattr(rule, value, 0) <= 1:
                raise ConfigError(f"rule {name}: {value}={getattr(rule, value)} is not between 0 and 1")
        rule(Candidates(none.astype(np.int64), none, none, none), nobody)
