"""Critiques in English, read by rules: "cheaper", "under 30", "not red", "in blue", "for a child".

No model reads the sentence, and texts of the catalogue are only ever compared with it.
"""

import math
import re
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from recsys.apps.assistant.catalogue import Catalogue, Wishes
from recsys.apps.assistant.words import stem_words

AMOUNT = r"[$€£]?\s*(\d[\d,]*(?:\.\d+)?)\s*(?:[$€£]|dollars|euros?|pounds)?"
BETWEEN = rf"\b(?:between|from)\s*{AMOUNT}\s*(?:and|to|-)\s*{AMOUNT}"
LIMITS = {
    "at most": rf"\b(?:at most|up to|no more than|not more than|max(?:imum)?)\s*{AMOUNT}",
    "below": rf"\b(?:under|below|less than|cheaper than)\s*{AMOUNT}",
    "at least": rf"\b(?:at least|from|min(?:imum)?)\s*{AMOUNT}",
    "above": rf"\b(?:over|above|more than)\s*{AMOUNT}",
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
MAX_WISHES = 20
"""maximum number of wishes for columns, and of words to avoid, in a dialogue"""
CHILD = ("child", "children", "kid", "toddler")


class Critique(NamedTuple):
    """The changes that one sentence asks for."""

    wishes: Wishes
    words: str
    """the remaining words of the sentence, to search for"""
    problem: str | None
    """why a critique in the sentence could not be applied"""


def apply_critique(text: str, wishes: Wishes, listed_items: Sequence[str], catalogue: Catalogue) -> Critique:
    """The wishes changed by a sentence; "cheaper" means below the median price of `listed_items`."""
    text, wishes = _apply_amounts(text, wishes)
    text, wishes, problem = _apply_comparison(text, wishes, listed_items, catalogue)
    text, wishes = _apply_without(text, wishes)
    text, wishes = _apply_only(text, wishes, catalogue)
    return Critique(wishes, " ".join(re.sub(FILLER, " ", text, flags=re.I).split()).strip(" ,.-"), problem)


def _apply_amounts(text: str, wishes: Wishes) -> tuple[str, Wishes]:
    """Limits on the price; "under 30" excludes 30, "at most 30" includes it."""
    if match := re.search(BETWEEN, text, re.I):
        low, high = sorted((_parse_number(match[1]), _parse_number(match[2])))
        return text.replace(match[0], " "), _limit_price(wishes, low, _next_above(high))
    for name, pattern in LIMITS.items():
        if match := re.search(pattern, text, re.I):
            text = text.replace(match[0], " ")
            value = _parse_number(match[1])
            limit = _next_above(value) if name in ("at most", "above") else value
            is_upper = name in ("at most", "below")
            wishes = _limit_price(wishes, None, limit) if is_upper else _limit_price(wishes, limit, None)
    return text, wishes


def _apply_comparison(
    text: str, wishes: Wishes, listed_items: Sequence[str], catalogue: Catalogue
) -> tuple[str, Wishes, str | None]:
    cheaper, dearer = re.search(CHEAPER, text, re.I), re.search(DEARER, text, re.I)
    match = cheaper or dearer
    if match is None:
        return text, wishes, None
    text = text.replace(match[0], " ")
    prices = [price for item in listed_items if (price := catalogue.products[item].price) is not None]
    if not prices:
        return (
            text,
            wishes,
            "Nothing with a price has been shown yet, so I cannot say what is cheaper or more expensive.",
        )
    middle = median(prices)
    limits = (None, middle) if cheaper else (_next_above(middle), None)
    return text, _limit_price(wishes, *limits), None


def _apply_without(text: str, wishes: Wishes) -> tuple[str, Wishes]:
    without = list(wishes.without)
    for match in re.finditer(WITHOUT, text, re.I):
        for phrase in re.split(r"\s+n?or\s+", re.sub(FILLER, " ", match[1], flags=re.I)):
            words = " ".join(phrase.lower().split())
            if stem_words(phrase) and words not in without:
                without.append(words)
    unwanted = {stem_words(words) for words in without}
    only = {name: words for name, words in wishes.only.items() if stem_words(words) not in unwanted}
    changed = wishes.model_copy(update={"without": without[-MAX_WISHES:], "only": only})
    return re.sub(WITHOUT, " ", text, flags=re.I), changed


def _apply_only(text: str, wishes: Wishes, catalogue: Catalogue) -> tuple[str, Wishes]:
    """Wishes such as "in X", "for an X", "only X" for a text X of a facet, and "size M" for a facet `size`."""
    only = dict(wishes.only)

    def take_facet(match: re.Match[str]) -> str:
        first, second = match[1].lower(), (match[2] or "").lower()
        for words in dict.fromkeys((f"{first} {second}".strip(), first)):
            facet = next((name for word in _synonyms(words) if (name := catalogue.find_facet(word))), None)
            if facet:
                only[facet] = next(word for word in _synonyms(words) if catalogue.find_facet(word) == facet)
                return " " if words != first or not second else f" {second} "
        return match[0]

    for name in catalogue.facets:
        for match in list(re.finditer(rf"\b{re.escape(name)}\s*(?:is|:|=)?\s+([\w-]+)", text, re.I)):
            if catalogue.find_facet(match[1]) == name:
                only[name], text = match[1].lower(), text.replace(match[0], " ")
    text = re.sub(ONLY, take_facet, text, flags=re.I)
    wanted = {stem_words(words) for words in only.values()}
    without = [words for words in wishes.without if stem_words(words) not in wanted]
    return text, wishes.model_copy(update={"only": dict([*only.items()][-MAX_WISHES:]), "without": without})


def _synonyms(words: str) -> tuple[str, ...]:
    is_child = stem_words(words)[0] in {stem_words(word)[0] for word in CHILD} and " " not in words
    return CHILD if is_child else (words,)


def _limit_price(wishes: Wishes, low: float | None, high: float | None) -> Wishes:
    """The wishes with these limits; older limits that contradict them are dropped."""
    limits = (wishes.low if low is None else low), (wishes.high if high is None else high)
    if None not in limits and not limits[0] < limits[1]:  # type: ignore[operator]
        limits = low, high
    return wishes.model_copy(update={"low": limits[0], "high": limits[1]})


def _parse_number(text: str) -> float:
    return float(text.replace(",", ""))


def _next_above(value: float) -> float:
    """The next larger number: below it means at most `value`."""
    return math.nextafter(value, math.inf)
