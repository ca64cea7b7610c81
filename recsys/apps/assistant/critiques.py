"""Critiques in English, read by rules: "cheaper", "under 30", "not red", "in blue", "for a child".

No model reads the sentence, and text of the catalogue is only ever compared with it.
"""

import math
import re
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from recsys.apps.assistant.catalogue import Catalogue, Wishes, stems

AMOUNT = r"[$€£]?\s*(\d[\d,]*(?:\.\d+)?)\s*(?:[$€£]|dollars|euros?|pounds)?"
BETWEEN = rf"\b(?:between|from)\s*{AMOUNT}\s*(?:and|to|-)\s*{AMOUNT}"
LIMITS = {
    "most": rf"\b(?:at most|up to|no more than|not more than|max(?:imum)?)\s*{AMOUNT}",
    "high": rf"\b(?:under|below|less than|cheaper than)\s*{AMOUNT}",
    "low": rf"\b(?:at least|from|min(?:imum)?)\s*{AMOUNT}",
    "more": rf"\b(?:over|above|more than)\s*{AMOUNT}",
}
CHEAPER = (
    r"\b(?:cheaper|less (?:expensive|pricey)|not (?:so |too |that |as )?(?:expensive|pricey)|too (?:expensive|pricey))"
    r"(?: than)?\b"
)
DEARER = r"\b(?:more expensive|pricier|dearer|more upmarket)(?: than)?\b"
FILLER = (
    r"\b(?:please|thanks?|thank you|show me|find me|i(?:'m| am) looking for|looking for|i(?:'d| would) like|"
    r"i (?:want|need)|do you have|have you got|search for|find|give me|can you|something|anything|some|any|ones?|it|"
    r"that|this|them|only|instead|too|then|ok|okay|yes)\b|[?!;:]|\.(?=\s|$)"
)
WITHOUT = (
    r"\b(?:nothing|anything but|not|no|without|except|excluding)\s+"
    r"(?:(?:in|from|by|made of|for|a|an|any|the)\s+)*(.+?)\s*"
    r"(?=[,.;!?]|\b(?:and|but|for|in|under|over|below|above|between|with|please|instead)\b|$)"
)
ONLY = r"\b(?:in|for|only|made of|made from)\s+(?:(?:a|an|my|the)\s+)*([^\W\d_]+)(?:[ -]([^\W\d_]+))?"
MOST = 20
"""wishes of a kind that are remembered"""
CHILD = ("child", "children", "kid", "toddler")


class Critique(NamedTuple):
    """What one sentence changes."""

    wishes: Wishes
    rest: str
    """of the sentence: words to search for, and what begins it"""
    problem: str | None
    """why a part of it could not be done"""


def critique(text: str, wishes: Wishes, beside: Sequence[str], catalogue: Catalogue) -> Critique:
    """The wishes changed by a sentence; "cheaper" is cheaper than the median of the items `beside`."""
    text, wishes = _amounts(text, wishes)
    text, wishes, problem = _relative(text, wishes, beside, catalogue)
    text, wishes = _without(text, wishes)
    text, wishes = _only(text, wishes, catalogue)
    return Critique(wishes, " ".join(re.sub(FILLER, " ", text, flags=re.I).split()).strip(" ,.-"), problem)


def _amounts(text: str, wishes: Wishes) -> tuple[str, Wishes]:
    """ "under 30" leaves 30 out, "at most 30" does not; a new limit that contradicts the other one replaces it."""
    if found := re.search(BETWEEN, text, re.I):
        low, high = sorted((_number(found[1]), _number(found[2])))
        return text.replace(found[0], " "), _bounded(wishes, low, _above(high))
    for name, pattern in LIMITS.items():
        if found := re.search(pattern, text, re.I):
            value = _number(found[1])
            text = text.replace(found[0], " ")
            if name in ("most", "high"):
                wishes = _bounded(wishes, None, value if name == "high" else _above(value))
            else:
                wishes = _bounded(wishes, value if name == "low" else _above(value), None)
    return text, wishes


def _relative(text: str, wishes: Wishes, beside: Sequence[str], catalogue: Catalogue) -> tuple[str, Wishes, str | None]:
    cheaper, dearer = re.search(CHEAPER, text, re.I), re.search(DEARER, text, re.I)
    if not (found := cheaper or dearer):
        return text, wishes, None
    text = text.replace(found[0], " ")
    prices = [price for item in beside if (price := catalogue.products[item].price) is not None]
    if not prices:
        return text, wishes, "Nothing with a price has been shown yet, so I cannot say what is cheaper or dearer."
    middle = median(prices)
    return text, _bounded(wishes, *((None, middle) if cheaper else (_above(middle), None))), None


def _without(text: str, wishes: Wishes) -> tuple[str, Wishes]:
    out = list(wishes.without)
    for found in re.finditer(WITHOUT, text, re.I):
        for words in re.split(r"\s+n?or\s+", re.sub(FILLER, " ", found[1], flags=re.I)):
            if stems(words) and " ".join(words.lower().split()) not in out:
                out.append(" ".join(words.lower().split()))
    gone = {stems(words) for words in out}
    only = {name: words for name, words in wishes.only.items() if stems(words) not in gone}
    return re.sub(WITHOUT, " ", text, flags=re.I), wishes.model_copy(update={"without": out[-MOST:], "only": only})


def _only(text: str, wishes: Wishes, catalogue: Catalogue) -> tuple[str, Wishes]:
    """ "in X", "for an X", "only X", where X is a text of a column; "size M", where `size` is a column."""
    only = dict(wishes.only)

    def taken(found: re.Match[str]) -> str:
        first, second = found[1].lower(), (found[2] or "").lower()
        for words in dict.fromkeys((f"{first} {second}".strip(), first)):
            column = next((c for word in _alike(words) if (c := catalogue.facet(word))), None)
            if column:
                only[column] = next(word for word in _alike(words) if catalogue.facet(word) == column)
                return " " if words != first or not second else f" {second} "
        return found[0]

    for name in catalogue.facets:
        for found in list(re.finditer(rf"\b{re.escape(name)}\s*(?:is|:|=)?\s+([\w-]+)", text, re.I)):
            if catalogue.facet(found[1]) == name:
                only[name], text = found[1].lower(), text.replace(found[0], " ")
    text = re.sub(ONLY, taken, text, flags=re.I)
    wanted = {stems(words) for words in only.values()}
    out = [words for words in wishes.without if stems(words) not in wanted]
    return text, wishes.model_copy(update={"only": dict([*only.items()][-MOST:]), "without": out})


def _alike(words: str) -> tuple[str, ...]:
    return CHILD if stems(words)[0] in {stems(word)[0] for word in CHILD} and " " not in words else (words,)


def _bounded(wishes: Wishes, low: float | None, high: float | None) -> Wishes:
    """With these limits; an older one that leaves no room goes."""
    both = (wishes.low if low is None else low), (wishes.high if high is None else high)
    if None not in both and not both[0] < both[1]:  # type: ignore[operator]
        both = low, high
    return wishes.model_copy(update={"low": both[0], "high": both[1]})


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _above(value: float) -> float:
    """The next number: what is less than it is at most the value."""
    return math.nextafter(value, math.inf)
