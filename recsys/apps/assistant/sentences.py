"""The intent of a sentence and the products it mentions, given the state of the dialogue."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from recsys.apps.assistant.catalogue import Catalogue, Wishes
from recsys.apps.assistant.critiques import Critique, apply_critique
from recsys.apps.assistant.words import normalize_title

Intent = Literal["search", "recommend", "similar", "explain", "compare", "more", "reset", "lost"]
ProductId = Annotated[str, Field(max_length=200)]
INTENT_PATTERNS: list[tuple[Intent, str]] = [
    ("reset", r"^\W*(?:start over|start again|reset|new search|forget (?:it|that|all))\W*$"),
    ("more", r"^\W*(?:show (?:me )?more|more|next|what else|others?|more of (?:them|those))\W*$"),
    ("compare", r"\bcompare\b|\bdifference between\b|\bversus\b|\bvs\b"),
    ("explain", r"\bwhy\b|\bexplain\b|\bhow come\b"),
    (
        "similar",
        r"\b(?:similar(?: to)?|more like|(?:something|anything) like|like (?=the|this|that|it)|alternatives? to)\b",
    ),
    ("recommend", r"\b(?:recommend(?:ed|ations?)?|suggest(?:ions?)?|surprise me|what should i \w+(?: next)?|for me)\b"),
]
FOLLOW_UP = r"^\W*(?:but|also|and|with|more|what about|how about)\b"
INSTEAD = r"^\W*(?:and )?(?:what|how) about\b|\binstead\b"
ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
NUMBER_WORDS = {"two": 2, "three": 3, "four": 4, "five": 5}


class DialogueTurn(BaseModel):
    """One side of an earlier turn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["user", "assistant"]
    content: str = Field(max_length=4000)


class DialogueState(BaseModel):
    """The state of a dialogue; the client carries it from turn to turn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    words: str = Field(default="", max_length=1000, description="words of the search; empty: recommendations")
    like: ProductId | None = Field(default=None, description="the item whose similar ones are listed")
    wishes: Wishes = Wishes()
    shown: list[ProductId] = Field(default=[], max_length=50, description="items of the last list")
    before: list[ProductId] = Field(default=[], max_length=500, description="items shown earlier in the same search")
    turns: list[DialogueTurn] = Field(
        default=[], max_length=12, description="the last turns, if a language model answers"
    )


class ParsedSentence(NamedTuple):
    """What one sentence asks for."""

    intent: Intent
    items: Sequence[str] = ()
    """ids of the products that it mentions"""
    words: str = ""
    """words to search for, or names of products to look up"""
    wishes: Wishes = Wishes()
    problem: str | None = None


def parse_sentence(text: str, state: DialogueState, catalogue: Catalogue) -> ParsedSentence:
    """The intent, products, words and wishes of a sentence, given the state of the dialogue.

    A critique alone continues the search; new words start another one, unless they follow on ("also …", "what about
    …"). A sentence that is a whole title is not a critique.
    """
    title = normalize_title(text)
    if len(title) > 1 and title in catalogue.titles:
        return ParsedSentence("search", [], text)
    intent, phrase = _match_intent(text)
    items = find_mentioned_items(text, state, catalogue, digits=intent in ("compare", "explain", "similar"))
    if intent == "reset":
        return ParsedSentence("reset")
    if intent == "more":
        return ParsedSentence("more", [], state.words, state.wishes)
    if intent in ("compare", "explain"):
        return ParsedSentence(intent, items, text.replace(phrase, " "), state.wishes)
    if intent == "similar":
        change = apply_critique(text.replace(phrase, " "), state.wishes, items or state.shown, catalogue)
        return ParsedSentence("similar", items, change.words, change.wishes, change.problem)
    return _parse_search(text, state, catalogue, items, intent)


def _match_intent(text: str) -> tuple[Intent | None, str]:
    """The first intent whose pattern the text matches, and the matching phrase; None if there is none."""
    matches = ((intent, re.search(pattern, text, re.I)) for intent, pattern in INTENT_PATTERNS)
    return next(((intent, match[0]) for intent, match in matches if match), (None, ""))


def _parse_search(
    text: str, state: DialogueState, catalogue: Catalogue, items: list[str], intent: Intent | None
) -> ParsedSentence:
    """A search, a recommendation, or a critique of the last list."""
    follows = re.search(FOLLOW_UP, text, re.I) or re.search(INSTEAD, text, re.I)
    critique = re.sub(rf"{FOLLOW_UP}|{INTENT_PATTERNS[-1][1]}", " ", text, flags=re.I)
    listed_items = items or [item for item in state.shown if item in catalogue.products]
    change = apply_critique(critique, state.wishes, listed_items, catalogue)
    words = _remove_mentions(change.words, items, catalogue)
    if words:
        if not follows:
            change = apply_critique(critique, Wishes(), listed_items, catalogue)
        replaces = follows is None or re.search(INSTEAD, text, re.I)
        words = words if replaces else f"{state.words} {words}".strip()
        return ParsedSentence("search", [], words, change.wishes, change.problem)
    if intent == "recommend":
        wishes = apply_critique(critique, Wishes(), listed_items, catalogue).wishes
        return ParsedSentence("recommend", [], "", wishes, change.problem)
    return _continue_search(change, state, catalogue, items)


def _remove_mentions(words: str, items: Sequence[str], catalogue: Catalogue) -> str:
    """The words without ids of mentioned products and without a lone ordinal."""
    if items:
        words = " ".join(word for word in words.split() if word not in catalogue.products)
    return re.sub(r"^(?:the )?(?:first|second|third|fourth|fifth|last)$", "", words)


def _continue_search(
    change: Critique, state: DialogueState, catalogue: Catalogue, items: Sequence[str]
) -> ParsedSentence:
    """The last search with changed wishes; for a sentence that changes nothing, the product that it mentions."""
    if change.wishes == state.wishes and change.problem is None:
        return ParsedSentence("search", [], catalogue.products[items[0]].title) if items else ParsedSentence("lost")
    if state.like:
        return ParsedSentence("similar", [state.like], "", change.wishes, change.problem)
    intent: Intent = "search" if state.words else "recommend"
    return ParsedSentence(intent, [], state.words, change.wishes, change.problem)


def find_mentioned_items(text: str, state: DialogueState, catalogue: Catalogue, digits: bool) -> list[str]:
    """Ids of products mentioned by id or by position in the last list: "the second", "the first two", "this",
    "number 3", and single `digits`. Ids of the state that the catalogue does not have are skipped.
    """
    shown = [item for item in state.shown if item in catalogue.products]
    ids = [
        word
        for word in re.findall(r"[\w-]+", text)
        if word in catalogue.products and (not word.isdigit() or (digits and (len(word) > 1 or not shown)))
    ]
    if match := re.search(rf"\bfirst ({'|'.join(NUMBER_WORDS)})\b|\b(both)\b|\b(?:all|these|those|them)\b", text, re.I):
        return ids or shown[: NUMBER_WORDS[match[1].lower()] if match[1] else 2 if match[2] else 5]
    positions = _find_positions(text, digits)
    by_position = [shown[position] for position in positions if -len(shown) <= position < len(shown)]
    if not ids and not by_position and re.search(r"\b(?:this|that|it)\b", text, re.I):
        by_position = shown[:1]
    return list(dict.fromkeys([*ids, *by_position]))


def _find_positions(text: str, digits: bool) -> list[int]:
    """Positions in the last list, from 0; -1 is the last."""
    ordinals = re.findall(rf"\b({'|'.join(ORDINALS)})\b", text, re.I)
    pattern = r"(?<![\w.])([1-9])(?![\w.])" if digits else r"(?:number|no\.|#)\s*([1-9])\b"
    return [ORDINALS[word.lower()] for word in ordinals] + [int(digit) - 1 for digit in re.findall(pattern, text, re.I)]
