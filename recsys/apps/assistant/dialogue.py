"""Search with critiquing: a sentence and the state of the dialogue to an answer, without a language model."""

import re
from collections.abc import Sequence

from pydantic import BaseModel

from recsys.apps.assistant.catalogue import Wishes
from recsys.apps.assistant.sentences import Act, State, Turn, read
from recsys.apps.assistant.tools import Compared, Found, Listed, Tools

SOFTWARE = "You are talking to software: a search with rules, no person and no language model."
EXAMPLES = [
    "something under 30", "cheaper", "not red", "in blue", "for a child", "more like the second", "why the first",
    "compare the first two", "more", "start over",
]  # fmt: skip
LOST = f"I did not find anything to do in that. Try words of a product, or: {', '.join(EXAMPLES[:-1])}."


class Reply(BaseModel):
    """An answer, and the state to ask the next question with."""

    say: str
    items: list[Listed]
    state: State
    software: str = SOFTWARE


def reply(tools: Tools, text: str, state: State, k: int = 5) -> Reply:
    """The answer to one sentence; raises RequestError for what the functions do not take."""
    there = tools.catalogue.products
    known = {
        "shown": [item for item in state.shown if item in there],
        "like": state.like if state.like in there else None,
    }
    state = state.model_copy(update=known)
    turn = read(text, state, tools.catalogue)
    if turn.problem:
        return Reply(say=turn.problem, items=[], state=state)
    match turn.act:
        case "search" | "recommend" | "similar":
            return _found(tools, turn, state, k)
        case "more":
            return _more(tools, state, k)
        case "explain":
            return _explained(tools, turn, state)
        case "compare":
            return _compared(tools, turn, state)
        case "reset":
            return Reply(say="All forgotten. What are you looking for?", items=[], state=State())
    return Reply(say=LOST, items=[], state=state)


def _found(tools: Tools, turn: Turn, state: State, k: int) -> Reply:
    """A list by words, by an item or by the history, and the state that it leaves."""
    wishes, words = turn.wishes, turn.words[:1000]
    if turn.act == "search":
        return _list(f"For “{words}”", tools.search(words, k, wishes), State(words=words, wishes=wishes))
    if turn.act == "recommend":
        return _list("For you", tools.recommend(k, wishes), State(wishes=wishes))
    items = [*turn.items] or _named(tools, [words]) or state.shown[:1]
    if not items:
        return Reply(say=LOST, items=[], state=state)
    title = tools.catalogue.products[items[0]].title
    return _list(f"Like {title}", tools.similar(items[0], k, wishes), State(like=items[0], wishes=wishes))


def _more(tools: Tools, state: State, k: int) -> Reply:
    """The next products of the same list, which ends with the fiftieth."""
    before = [*state.before, *state.shown]
    act: Act = "similar" if state.like else "search" if state.words else "recommend"
    again = Turn(act, [state.like] if state.like else [], state.words, state.wishes)
    found = _found(tools, again, state, min(50, len(before) + k))
    items = [one for one in found.items if one.item not in set(before)][:k]
    if not items:
        return Reply(say="That was all there is.", items=[], state=state)
    after = state.model_copy(update={"before": before[-500:], "shown": [one.item for one in items]})
    return Reply(say="More of them:", items=items, state=after)


def _explained(tools: Tools, turn: Turn, state: State) -> Reply:
    items = [*turn.items] or state.shown or _named(tools, [turn.words])
    if not items:
        return Reply(say=LOST, items=[], state=state)
    found = tools.explain(items[0])
    columns = tools.catalogue.products[items[0]].columns
    listed = Listed(item=found.item, title=found.title, because=found.because, columns=columns)
    return Reply(say=f"{found.title}: {found.say}.", items=[listed], state=state)


def _compared(tools: Tools, turn: Turn, state: State) -> Reply:
    names = re.split(r"\band\b|\bwith\b|\bor\b|\bto\b|,", turn.words)
    items = [*turn.items] if len(turn.items) > 1 else _named(tools, names)
    items = items if len(items) > 1 else state.shown[:2]
    if len(items) < 2:
        return Reply(say="Name two products to compare.", items=[], state=state)
    found = tools.compare(items[:5])
    return Reply(say=_in_words(found), items=found.items, state=state.model_copy(update={"shown": items[:5]}))


def _list(what: str, found: Found, state: State) -> Reply:
    wished = said(state.wishes)
    begin = f"{what}, {wished}" if wished else what
    number = {0: "nothing", 1: "one product"}.get(len(found.items), f"{len(found.items)} products")
    say = f"{begin}: {number}."
    shown = state.model_copy(update={"shown": [one.item for one in found.items]})
    return Reply(say=f"{say} {found.note}".strip(), items=found.items, state=shown)


def _named(tools: Tools, names: Sequence[str]) -> list[str]:
    """The product that each name finds best."""
    wanted = [name.strip(" ?!.,") for name in names]
    found = [tools.index.find(name, list(tools.catalogue.products)) for name in wanted if name]
    return list(dict.fromkeys(next(iter(one)) for one in found if one))


def _in_words(found: Compared) -> str:
    titles = {one.item: one.title for one in found.items}
    rows = [
        f"{name}: " + ", ".join(f"{titles[item]} {'–' if value is None else value}" for item, value in row.items())
        for name, row in found.differ.items()
    ]
    ends = [f"Cheapest: {titles[found.cheapest]}."] if found.cheapest else []
    ends += [f"Closest to what you had: {titles[found.closest]}."] if found.closest else []
    return " ".join([("; ".join(rows) or "They differ in nothing that the catalogue says") + ".", *ends])


def said(wishes: Wishes) -> str:
    """The wishes in words."""
    words = [f"from {wishes.low:g}"] if wishes.low is not None else []
    if wishes.high is not None:
        words.append(f"{'at most' if float(f'{wishes.high:g}') < wishes.high else 'under'} {wishes.high:g}")
    words += [f"{column} {value}" for column, value in wishes.only.items()]
    return ", ".join([*words, *(f"not {value}" for value in wishes.without)])
