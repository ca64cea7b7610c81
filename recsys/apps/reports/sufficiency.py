"""Whether a log is enough to learn from and to judge by: rules with their thresholds, and why they are so."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Json = dict[str, Any]
DEVIATION = 0.3
"""of ndcg@10 between users, about the most that models on the public data sets have (docs/reports.md)"""


@dataclass(frozen=True)
class Rule:
    """What is asked of a log, and what it has."""

    asked: str
    found: float
    threshold: float
    why: str
    serves: tuple[str, ...] = ()
    """models that need it"""

    @property
    def holds(self) -> bool:
        """Whether it has that much."""
        return self.found >= self.threshold


SHARE = "a share of 10% is then known to ± 2 points"
AGAIN = "a list of what one has had helps where things come again"
PAIRS = "what goes together is counted over pairs, and a user with one event has none"
ITEM = "with fewer events on an item, one customer decides what it goes with"
LEARNED = (
    "on MovieLens 100K (about 98,000) every learned model loses to counting, on Amazon Beauty (154,000) SASRec wins"
)
FOLLOWS = "a sequence teaches what follows what: a user of two events shows that once"


def rules(training: Json, testing: Json, exclude_seen: bool, has_order: bool) -> list[Rule]:
    """The rules for `parts.training` and `parts.testing`; personal_frequency is left out where repeats are."""
    counting, learned = ("item_knn", "ease"), ("two_tower", "ncf", "sasrec")
    own = () if exclude_seen else ("personal_frequency",)
    pairs, all_of = counting + learned, ("popularity", *own, *counting, *learned)
    return [
        Rule("events to learn from", training["targets"], 1000, SHARE, all_of),
        *(Rule("share of repeats in the test", testing["repeated_targets"], 0.05, AGAIN, (model,)) for model in own),
        Rule("users with two events or more", training["users_of_2"], 500, PAIRS, pairs),
        Rule("events an item", training["targets_an_item"], 5, ITEM, pairs),
        Rule("events to learn from", training["targets"], 150_000, LEARNED, learned),
        Rule("users with three events or more", training["users_of_3"] if has_order else 0, 1000, FOLLOWS, ("sasrec",)),
    ]


def half_width(n_users: int) -> float:
    """Half of the 95% interval of ndcg@10 over so many users, infinite for none: 1.96 × .3 / √n."""
    return 1.96 * DEVIATION / np.sqrt(n_users) if n_users else np.inf


def users_for(half: float) -> int:
    """How many test users make the interval that narrow."""
    return int(np.ceil((1.96 * DEVIATION / half) ** 2))


def verdict(found: list[Rule]) -> dict[str, list[str]]:
    """The models under `enough` or `too little`, each in the order in which rules name them."""
    models = list(dict.fromkeys(model for rule in found for model in rule.serves))
    lacking = {model for rule in found if not rule.holds for model in rule.serves}
    return {"enough": [m for m in models if m not in lacking], "too little": [m for m in models if m in lacking]}


def said(found: list[Rule], testing: Json, ties: Json | None) -> list[str]:
    """The verdict in plain sentences, and what to see to."""
    judged, n = verdict(found), testing["users"]
    parts = [f"{word} for {_listed(models)}" for word, models in judged.items() if models]
    lines = [f"{'; '.join(parts).capitalize()}."]
    if not n:
        lines.append("Nothing can be judged: no user has a target in the test part; choose another split.")
    else:
        lines.append(
            f"{n:,} test users: the 95% interval of ndcg@10 will be about ± {half_width(n):.3f}"
            + (
                "."
                if half_width(n) <= 0.01
                else f"; ± .01 takes {users_for(0.01):,} of them, ± .02 {users_for(0.02):,}."
            )
        )
    if testing["cold_targets"] > 0.1:
        lines.append(
            f"{testing['cold_targets']:.0%} of what is asked in the test was first seen after training, and no model "
            "that knows items by their id alone can recommend it: train more often, or give it features of items."
        )
    if ties is not None and (ties["outside_baskets"] or 0) > 0.1:
        lines.append(
            f"{ties['outside_baskets']:.0%} of the events share their moment with another event of their user and no "
            "basket says that they belong together: their order is that of the rows. Name data.columns.basket, or give "
            "finer times."
        )
    return lines


def as_json(found: list[Rule]) -> list[Json]:
    """The rules as they stand in the file."""
    return [{**asdict(rule), "holds": rule.holds} for rule in found]


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
