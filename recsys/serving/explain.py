"""Why an item is recommended: the item of the history without which it would be least likely.

Leave-one-out: the same question is asked with the whole history and once without each of its items. What counts is the
logarithm of the item's probability among candidates, for removing an item moves the scores of all items together, and
only what it takes from one more than from the others is a reason.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recsys.serving.recommender import Question, Recommendation, Recommender, allowed

THRESHOLD = 0.5
"""of the drop: the item then has at most .61 of its probability (docs/sessions.md)"""
REFERENCE = 300
"""items of a newcomer's list that stand for the catalogue"""
TRIED = 100
"""distinct items of the history, the newest, that are left out one by one"""
ELSEWHERE = {"k", "exclude_seen", "allow", "deny"}
"""what else a list is asked for with, and does not change why an item is on it"""


class Reason(NamedTuple):
    """Why one item is recommended."""

    item: str
    because: str | None
    """the item of the history that matters most, itself where it was had before; None: none matters enough"""
    drop: float
    """what the item's log-probability loses without it"""


class Plan(NamedTuple):
    """Questions whose answers give the reasons, all to be asked with the same `allow`."""

    items: list[str]
    allow: list[str]
    left_out: list[str]
    """an item of the history for each question but the first, which leaves out none"""
    questions: list[Question]


def explain(recommender: Recommender, items: Sequence[str], history: Sequence[Any], **asked: Any) -> list[Reason]:
    """A reason for each item, in order, after the history that the list was made of; `asked` is what else
    `recommend` was asked, of which `user` and `context` count. Items that the file does not know have no reason.
    Raises RequestError.
    """
    plan = planned(recommender, items, recommender.recommend(k=REFERENCE).items, history, **asked)
    return reasons(plan, recommender.answer(plan.questions, plan.allow))


def planned(
    recommender: Recommender, items: Sequence[Any], reference: Sequence[str], history: Sequence[Any], **asked: Any
) -> Plan:
    """What has to be asked to explain these items beside those of a `reference` list; raises RequestError."""
    allow = list(dict.fromkeys(allowed([*items, *reference])))
    given = {name: value for name, value in asked.items() if name not in ELSEWHERE}
    whole = recommender.question(history, **given, k=len(allow), exclude_seen=False)
    events = {name for name, column in recommender.describe()["inputs"].items() if column.get("of") == "event"}
    left_out = list(dict.fromkeys(item for item in reversed(whole.history) if item))[:TRIED]
    return Plan(
        [str(item) for item in items], allow, left_out, [whole, *(_without(whole, item, events) for item in left_out)]
    )


def reasons(plan: Plan, answers: Sequence[Recommendation]) -> list[Reason]:
    """A reason for each item of a plan, from the answers to its questions."""
    found = drops_of(answers)
    return [_reason(item, plan.left_out, found.get(item, np.empty(0))) for item in plan.items]


def drops_of(answers: Sequence[Recommendation]) -> dict[str, np.ndarray]:
    """By item, what its log-probability among the answered items loses from the first answer to each of the others."""
    scores = np.array([np.array(one.scores)[np.argsort(np.array(one.items, object))] for one in answers])
    likely = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return dict(zip(sorted(answers[0].items), (likely[:1] - likely[1:]).T, strict=True))


def _without(whole: Question, item: str, events: set[str]) -> Question:
    """The question of somebody who never had the item."""
    kept = [place for place, own in enumerate(whole.history) if own != item]
    columns = {name: [cells[n] for n in kept] if name in events else cells for name, cells in whole.columns.items()}
    return whole._replace(history=[whole.history[n] for n in kept], columns=columns)


def _reason(item: str, left_out: list[str], drops: np.ndarray) -> Reason:
    """The item without which the drop is largest; of equal ones the newest."""
    if len(drops) == 0:
        return Reason(item, None, 0.0)
    most = int(np.argmax(drops))
    drop = float(drops[most])
    return Reason(item, left_out[most] if drop >= THRESHOLD else None, drop)
