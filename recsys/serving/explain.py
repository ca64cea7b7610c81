"""Why an item is recommended: the item of the history whose absence lowers its score most."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from recsys.serving.recommender import Recommender

THRESHOLD = 0.05
"""of the score's size: a smaller drop is no reason"""


class Reason(NamedTuple):
    """Why one item is recommended."""

    item: str
    because: str | None
    """the item of the history that matters most; None where none matters enough"""
    drop: float


def explain(recommender: Recommender, items: Sequence[str], history: Sequence[Any], **asked: Any) -> list[Reason]:
    """A reason for each item, in order."""
    own = list(dict.fromkeys(str(item) for item in history))
    histories = [own, *([other for other in own if other != one] for one in own)]
    k = len(items)
    questions = [recommender.question(row, k=k, exclude_seen=False, **asked) for row in histories]
    answers = recommender.answer(questions, list(items))
    scores = [dict(zip(one.items, one.scores, strict=True)) for one in answers]
    return [_reason(item, own, scores) for item in items]


def _reason(item: str, own: list[str], scores: list[dict[str, float]]) -> Reason:
    if item not in scores[0] or not own:
        return Reason(item, None, 0.0)
    drop, because = max((scores[0][item] - less.get(item, 0.0), one) for one, less in zip(own, scores[1:], strict=True))
    return Reason(item, because if drop > THRESHOLD * abs(scores[0][item]) and because != item else None, drop)
