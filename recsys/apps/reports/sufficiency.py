"""Rules on whether a log is large enough to train and to compare models, with their thresholds and reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Json = dict[str, Any]
DEVIATION = 0.3
"""standard deviation of ndcg@10 between users, about the largest of any model on the public data sets
(docs/reports.md)"""


@dataclass(frozen=True)
class SufficiencyRule:
    """A number that a log should have, and the number that it has."""

    requirement: str
    value: float
    threshold: float
    reason: str
    models: tuple[str, ...] = ()
    """models that need it"""

    @property
    def holds(self) -> bool:
        """Whether the value reaches the threshold."""
        return self.value >= self.threshold


SHARE_PRECISION = "a share of 10% can then be estimated to ± 2 percentage points"
REPEATS = "a list of a user's earlier items helps only where people buy the same items again"
PAIRS = "items that go together are counted in pairs, and a user with one event has no pair"
EVENTS_PER_ITEM = "with fewer events per item, single customers decide which items go together"
LEARNED_MODELS = (
    "on MovieLens 100K (about 98,000) every learned model loses to counting models; on Amazon Beauty (154,000) SASRec "
    "wins"
)
SEQUENCES = "sequence models learn what follows what, and a user with two events shows that only once"


def check_sufficiency(training: Json, test: Json, exclude_seen: bool, has_order: bool) -> list[SufficiencyRule]:
    """The rules with the values of a log, from `describe_training_targets` and `describe_test_targets`;
    personal_frequency is left out where seen items are excluded.
    """
    counting, learned = ("item_knn", "ease"), ("two_tower", "ncf", "sasrec")
    personal = () if exclude_seen else ("personal_frequency",)
    pairs, everything = counting + learned, ("popularity", *personal, *counting, *learned)
    users_of_3 = training["users_of_3"] if has_order else 0
    repeated = test["repeated_targets"]
    return [
        SufficiencyRule("training events", training["targets"], 1000, SHARE_PRECISION, everything),
        *(
            SufficiencyRule("share of repeats among test targets", repeated, 0.05, REPEATS, (model,))
            for model in personal
        ),
        SufficiencyRule("users with at least two training events", training["users_of_2"], 500, PAIRS, pairs),
        SufficiencyRule("training events per item", training["targets_an_item"], 5, EVENTS_PER_ITEM, pairs),
        SufficiencyRule("training events", training["targets"], 150_000, LEARNED_MODELS, learned),
        SufficiencyRule("users with at least three training events", users_of_3, 1000, SEQUENCES, ("sasrec",)),
    ]


def compute_half_width(n_users: int) -> float:
    """Half of the 95% interval of ndcg@10 with `n_users` test users: 1.96 × 0.3 / √n; infinite for none."""
    return 1.96 * DEVIATION / np.sqrt(n_users) if n_users else np.inf


def count_users_for_half_width(half_width: float) -> int:
    """The number of test users from which the 95% interval of ndcg@10 is that narrow."""
    return int(np.ceil((1.96 * DEVIATION / half_width) ** 2))


def group_models_by_verdict(rules: Sequence[SufficiencyRule]) -> dict[str, list[str]]:
    """The models under the keys `enough` and `too little`, each in the order in which the rules name them."""
    models = list(dict.fromkeys(model for rule in rules for model in rule.models))
    lacking = {model for rule in rules if not rule.holds for model in rule.models}
    return {"enough": [m for m in models if m not in lacking], "too little": [m for m in models if m in lacking]}


def explain_sufficiency(rules: Sequence[SufficiencyRule], test: Json, ties: Json | None) -> list[str]:
    """The verdict as sentences, with advice; `test` is of `describe_test_targets`, `ties` of `describe_ties`."""
    verdict = "; ".join(
        f"{word} data for {_join_names(models)}" for word, models in group_models_by_verdict(rules).items() if models
    )
    return [f"{verdict.capitalize()}.", _explain_interval(test["users"]), *_advise(test, ties)]


def _explain_interval(n_users: int) -> str:
    if not n_users:
        return "Models cannot be compared: no user has a target in the test part; choose another split."
    half_width = compute_half_width(n_users)
    sentence = f"With {n_users:,} test users, the 95% interval of ndcg@10 will be about ± {half_width:.3f}"
    if half_width <= 0.01:
        return f"{sentence}."
    fine, coarse = count_users_for_half_width(0.01), count_users_for_half_width(0.02)
    return f"{sentence}; ± 0.02 takes {coarse:,} users, ± 0.01 takes {fine:,}."


def _advise(test: Json, ties: Json | None) -> list[str]:
    advice = []
    if test["cold_targets"] > 0.1:
        advice.append(
            f"{test['cold_targets']:.0%} of the test targets were first seen after training, and models that know "
            "items only by their id cannot recommend them: train more often, or add features of items."
        )
    if ties is not None and (ties["outside_baskets"] or 0) > 0.1:
        advice.append(
            f"{ties['outside_baskets']:.0%} of events have the same time as another event of their user, but no common "
            "order number, so their order is that of the rows: set data.columns.basket, or provide finer times."
        )
    return advice


def rules_to_json(rules: Sequence[SufficiencyRule]) -> list[Json]:
    """The rules in the format of the report's JSON file."""
    return [
        {
            "asked": rule.requirement,
            "found": rule.value,
            "threshold": rule.threshold,
            "why": rule.reason,
            "serves": rule.models,
            "holds": rule.holds,
        }
        for rule in rules
    ]


def _join_names(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
