"""What a sentence asks for, and of which products, after what was asked before."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from recsys.apps.assistant.catalogue import Catalogue, Wishes, title_key
from recsys.apps.assistant.critiques import critique

Act = Literal["search", "recommend", "similar", "explain", "compare", "more", "reset", "lost"]
Id = Annotated[str, Field(max_length=200)]
ACTS: list[tuple[Act, str]] = [
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
FOLLOWING = r"^\W*(?:but|also|and|with|more|what about|how about)\b"
INSTEAD = r"^\W*(?:and )?(?:what|how) about\b|\binstead\b"
PLACES = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4, "last": -1}
MANY = {"two": 2, "three": 3, "four": 4, "five": 5}


class Said(BaseModel):
    """One side of an earlier turn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["user", "assistant"]
    content: str = Field(max_length=4000)


class State(BaseModel):
    """What a dialogue has come to; the client carries it from turn to turn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    words: str = Field(default="", max_length=1000, description="searched for; empty: recommended")
    like: Id | None = Field(default=None, description="the item that others are to be like")
    wishes: Wishes = Wishes()
    shown: list[Id] = Field(default=[], max_length=50, description="the last list")
    before: list[Id] = Field(default=[], max_length=500, description="shown earlier in the same search")
    turns: list[Said] = Field(default=[], max_length=12, description="the last ones, where a language model answers")


class Turn(NamedTuple):
    """What one sentence asks."""

    act: Act
    items: Sequence[str] = ()
    """that it names"""
    words: str = ""
    """to search for, or names of items to be looked up"""
    wishes: Wishes = Wishes()
    problem: str | None = None


def read(text: str, state: State, catalogue: Catalogue) -> Turn:
    """The sentence after what was asked before. A critique alone goes on with the same search; new words begin one,
    unless they follow on ("also …", "what about …"). A sentence that is a whole title is no critique.
    """
    if len(key := title_key(text)) > 1 and key in catalogue.titles:
        return Turn("search", [], text)
    act, phrase = _act(text)
    items = mentioned(text, state, catalogue, bare=act in ("compare", "explain", "similar"))
    if act == "reset":
        return Turn("reset")
    if act == "more":
        return Turn("more", [], state.words, state.wishes)
    if act in ("compare", "explain"):
        return Turn(act, items, text.replace(phrase, " "), state.wishes)
    if act == "similar":
        changed = critique(text.replace(phrase, " "), state.wishes, items or state.shown, catalogue)
        return Turn("similar", items, changed.rest, changed.wishes, changed.problem)
    return _searched(text, state, catalogue, items, act)


def _act(text: str) -> tuple[Act | None, str]:
    """What a sentence says is to be done, if anything, and the words that say so."""
    found = ((act, re.search(pattern, text, re.I)) for act, pattern in ACTS)
    return next(((act, match[0]) for act, match in found if match), (None, ""))


def _searched(text: str, state: State, catalogue: Catalogue, items: list[str], act: Act | None) -> Turn:
    """A search, a list for the customer, or a critique of what was shown last."""
    follows = re.search(FOLLOWING, text, re.I) or re.search(INSTEAD, text, re.I)
    plain = re.sub(rf"{FOLLOWING}|{ACTS[-1][1]}", " ", text, flags=re.I)
    beside = items or [item for item in state.shown if item in catalogue.products]
    wishes, words, problem = critique(plain, state.wishes, beside, catalogue)
    words = words if items == [] else " ".join(word for word in words.split() if word not in catalogue.products)
    words = re.sub(r"^(?:the )?(?:first|second|third|fourth|fifth|last)$", "", words)
    if words and not follows:
        wishes, _, problem = critique(plain, Wishes(), beside, catalogue)
    if words:
        swapped = follows is None or re.search(INSTEAD, text, re.I)
        return Turn("search", [], words if swapped else f"{state.words} {words}".strip(), wishes, problem)
    if act == "recommend":
        return Turn("recommend", [], "", critique(plain, Wishes(), beside, catalogue).wishes, problem)
    if wishes == state.wishes and problem is None:
        return Turn("search", [], catalogue.products[items[0]].title) if items else Turn("lost")
    if state.like:
        return Turn("similar", [state.like], "", wishes, problem)
    return Turn("search" if state.words else "recommend", [], state.words, wishes, problem)


def mentioned(text: str, state: State, catalogue: Catalogue, bare: bool) -> list[str]:
    """Items named by id or by their place in the last list: "the second", "the first two", "this", "number 3", and
    `bare` digits. Ids of the state that the catalogue does not have are passed over.
    """
    shown = [item for item in state.shown if item in catalogue.products]
    digits = r"(?<![\w.])([1-9])(?![\w.])" if bare else r"(?:number|no\.|#)\s*([1-9])\b"
    ids = [
        word
        for word in re.findall(r"[\w-]+", text)
        if word in catalogue.products and (not word.isdigit() or (bare and (len(word) > 1 or not shown)))
    ]
    if found := re.search(rf"\bfirst ({'|'.join(MANY)})\b|\b(both)\b|\b(?:all|these|those|them)\b", text, re.I):
        return ids or shown[: MANY[found[1].lower()] if found[1] else 2 if found[2] else 5]
    named = [PLACES[word.lower()] for word in re.findall(rf"\b({'|'.join(PLACES)})\b", text, re.I)]
    places = named + [int(digit) - 1 for digit in re.findall(digits, text, re.I)]
    by_place = [shown[place] for place in places if -len(shown) <= place < len(shown)]
    if not ids and not by_place and re.search(r"\b(?:this|that|it)\b", text, re.I):
        by_place = shown[:1]
    return list(dict.fromkeys([*ids, *by_place]))
