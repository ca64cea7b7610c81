"""Explains recommendations by leave-one-out: an item rests on the item of the history without which it falls most.

The request is answered with the whole history and once without each of its items. The measure is the logarithm of the
item's probability among candidates: removing an item shifts all scores together, and only what it takes from one item
more than from the others is a reason.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recsys.serving.recommender import CheckedRequest, Recommendation, Recommender, check_allow

THRESHOLD = 0.5
"""smallest drop that counts as a reason: the item keeps at most 61% of its probability (docs/sessions.md)"""
REFERENCE_SIZE = 300
"""items of a newcomer's list that represent the catalogue"""
MAX_LEFT_OUT = 100
"""distinct items of the history, newest first, that are left out one by one"""
LIST_SETTINGS = {"k", "exclude_seen", "allow", "deny"}
"""arguments of `recommend` that do not change why an item is in the list"""


class Reason(NamedTuple):
    """Why one item is recommended."""

    item: str
    because: str | None
    """the item of the history that matters most, possibly `item` itself; None: none matters enough"""
    drop: float
    """decrease of the item's log-probability without it"""


class LeaveOneOutPlan(NamedTuple):
    """Requests whose answers give the reasons, all of them with the same `allow`."""

    items: list[str]
    allow: list[str]
    left_out: list[str]
    """the item left out of each request but the first, which has the whole history"""
    requests: list[CheckedRequest]


def explain(recommender: Recommender, items: Sequence[str], history: Sequence[Any], **arguments: Any) -> list[Reason]:
    """Return a reason for each item, in order, given the history that the items were recommended for.

    `arguments` are the other arguments of `recommend`, of which `user` and `context` matter. Items that the file does
    not know have no reason. Raises RequestError.
    """
    reference = recommender.recommend(k=REFERENCE_SIZE).items
    plan = plan_leave_one_out(recommender, items, reference, history, **arguments)
    return find_reasons(plan, recommender.answer(plan.requests, plan.allow))


def plan_leave_one_out(
    recommender: Recommender, items: Sequence[Any], reference: Sequence[str], history: Sequence[Any], **arguments: Any
) -> LeaveOneOutPlan:
    """Return the requests that explain these items among those of a `reference` list; raises RequestError."""
    allow = list(dict.fromkeys(check_allow([*items, *reference])))
    user_and_context = {name: value for name, value in arguments.items() if name not in LIST_SETTINGS}
    full = recommender.question(history, **user_and_context, k=len(allow), exclude_seen=False)
    inputs = recommender.describe()["inputs"]
    event_columns = {name for name, column in inputs.items() if column.get("of") == "event"}
    left_out = list(dict.fromkeys(item for item in reversed(full.history) if item))[:MAX_LEFT_OUT]
    requests = [full, *(_leave_out(item, full, event_columns) for item in left_out)]
    return LeaveOneOutPlan([str(item) for item in items], allow, left_out, requests)


def find_reasons(plan: LeaveOneOutPlan, answers: Sequence[Recommendation]) -> list[Reason]:
    """Return a reason for each item of a plan, from the answers to its requests."""
    drops = compute_drops(answers)
    return [_find_reason(item, plan.left_out, drops.get(item, np.empty(0))) for item in plan.items]


def compute_drops(answers: Sequence[Recommendation]) -> dict[str, np.ndarray]:
    """Return by item how far its log-probability among the answer's items falls from the first answer to each other."""
    scores = np.array([np.array(answer.scores)[np.argsort(np.array(answer.items, object))] for answer in answers])
    log_probabilities = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    drops = log_probabilities[:1] - log_probabilities[1:]
    return dict(zip(sorted(answers[0].items), drops.T, strict=True))


def _leave_out(item: str, full: CheckedRequest, event_columns: set[str]) -> CheckedRequest:
    """Return the request without the events of an item."""
    positions = [position for position, event_item in enumerate(full.history) if event_item != item]
    columns = {
        name: [cells[position] for position in positions] if name in event_columns else cells
        for name, cells in full.columns.items()
    }
    return full._replace(history=[full.history[position] for position in positions], columns=columns)


def _find_reason(item: str, left_out: list[str], drops: np.ndarray) -> Reason:
    """Return the largest drop of an item as its reason; the newest of equal ones."""
    if len(drops) == 0:
        return Reason(item, None, 0.0)
    position = int(np.argmax(drops))
    drop = float(drops[position])
    return Reason(item, left_out[position] if drop >= THRESHOLD else None, drop)
