"""Search with critiquing: answers a sentence by rules, without a language model."""

import re
from collections.abc import Sequence

from pydantic import BaseModel

from recsys.apps.assistant.catalogue import Wishes
from recsys.apps.assistant.results import ListedProduct, ProductComparison, ProductList
from recsys.apps.assistant.sentences import DialogueState, Intent, ParsedSentence, parse_sentence
from recsys.apps.assistant.tools import ShopTools

SOFTWARE = "You are talking to software: a search with rules, not a person and not a language model."
EXAMPLES = [
    "something under 30", "cheaper", "not red", "in blue", "for a child", "more like the second", "why the first",
    "compare the first two", "more", "start over",
]  # fmt: skip
LOST = f"I did not understand that. Try words of a product, or: {', '.join(EXAMPLES[:-1])}."


class Reply(BaseModel):
    """An answer, and the state to send with the next sentence."""

    say: str
    items: list[ListedProduct]
    state: DialogueState
    software: str = SOFTWARE


def reply_by_rules(tools: ShopTools, text: str, state: DialogueState, k: int = 5) -> Reply:
    """The answer to one sentence. Raises RequestError for arguments that the tools refuse."""
    state = _drop_unknown_items(state, tools)
    sentence = parse_sentence(text, state, tools.catalogue)
    if sentence.problem:
        return Reply(say=sentence.problem, items=[], state=state)
    match sentence.intent:
        case "search" | "recommend" | "similar":
            return _find_products(tools, sentence, state, k)
        case "more":
            return _show_more(tools, state, k)
        case "explain":
            return _explain_product(tools, sentence, state)
        case "compare":
            return _compare_products(tools, sentence, state)
        case "reset":
            return Reply(say="All forgotten. What are you looking for?", items=[], state=DialogueState())
    return Reply(say=LOST, items=[], state=state)


def describe_wishes(wishes: Wishes) -> str:
    """The wishes in words."""
    words = [f"from {wishes.low:g}"] if wishes.low is not None else []
    if wishes.high is not None:
        words.append(f"{'at most' if float(f'{wishes.high:g}') < wishes.high else 'under'} {wishes.high:g}")
    words += [f"{column} {value}" for column, value in wishes.only.items()]
    return ", ".join([*words, *(f"not {value}" for value in wishes.without)])


def _drop_unknown_items(state: DialogueState, tools: ShopTools) -> DialogueState:
    """The state without products that the catalogue does not have."""
    products = tools.catalogue.products
    shown = [item for item in state.shown if item in products]
    return state.model_copy(update={"shown": shown, "like": state.like if state.like in products else None})


def _find_products(tools: ShopTools, sentence: ParsedSentence, state: DialogueState, k: int) -> Reply:
    """The reply with a list by words, by an item or by the history."""
    wishes, words = sentence.wishes, sentence.words[:1000]
    if sentence.intent == "search":
        products = tools.search(words, k, wishes)
        return _reply_with_list(f"For “{words}”", products, DialogueState(words=words, wishes=wishes))
    if sentence.intent == "recommend":
        return _reply_with_list("For you", tools.recommend(k, wishes), DialogueState(wishes=wishes))
    items = [*sentence.items] or _look_up_names(tools, [words]) or state.shown[:1]
    if not items:
        return Reply(say=LOST, items=[], state=state)
    title = tools.catalogue.products[items[0]].title
    products = tools.similar(items[0], k, wishes)
    return _reply_with_list(f"Like {title}", products, DialogueState(like=items[0], wishes=wishes))


def _show_more(tools: ShopTools, state: DialogueState, k: int) -> Reply:
    """The reply with the next products of the same list, which ends with the fiftieth."""
    before = [*state.before, *state.shown]
    intent: Intent = "similar" if state.like else "search" if state.words else "recommend"
    sentence = ParsedSentence(intent, [state.like] if state.like else [], state.words, state.wishes)
    whole_list = _find_products(tools, sentence, state, min(50, len(before) + k))
    products = [product for product in whole_list.items if product.item not in set(before)][:k]
    if not products:
        return Reply(say="That was all there is.", items=[], state=state)
    shown = [product.item for product in products]
    after = state.model_copy(update={"before": before[-500:], "shown": shown})
    return Reply(say="More of them:", items=products, state=after)


def _explain_product(tools: ShopTools, sentence: ParsedSentence, state: DialogueState) -> Reply:
    items = [*sentence.items] or state.shown or _look_up_names(tools, [sentence.words])
    if not items:
        return Reply(say=LOST, items=[], state=state)
    explanation = tools.explain(items[0])
    product = tools.catalogue.products[items[0]]
    listed = ListedProduct(
        item=explanation.item, title=explanation.title, because=explanation.because, columns=product.columns
    )
    return Reply(say=f"{explanation.title}: {explanation.say}.", items=[listed], state=state)


def _compare_products(tools: ShopTools, sentence: ParsedSentence, state: DialogueState) -> Reply:
    names = re.split(r"\band\b|\bwith\b|\bor\b|\bto\b|,", sentence.words)
    items = [*sentence.items] if len(sentence.items) > 1 else _look_up_names(tools, names)
    items = items if len(items) > 1 else state.shown[:2]
    if len(items) < 2:
        return Reply(say="Name two products to compare.", items=[], state=state)
    comparison = tools.compare(items[:5])
    after = state.model_copy(update={"shown": items[:5]})
    return Reply(say=_describe_comparison(comparison), items=comparison.items, state=after)


def _reply_with_list(heading: str, products: ProductList, state: DialogueState) -> Reply:
    wishes = describe_wishes(state.wishes)
    heading = f"{heading}, {wishes}" if wishes else heading
    count = {0: "nothing", 1: "one product"}.get(len(products.items), f"{len(products.items)} products")
    after = state.model_copy(update={"shown": [product.item for product in products.items]})
    return Reply(say=f"{heading}: {count}. {products.note}".strip(), items=products.items, state=after)


def _look_up_names(tools: ShopTools, names: Sequence[str]) -> list[str]:
    """The best match for each name, if there is any."""
    stripped = [name.strip(" ?!.,") for name in names]
    matches = [tools.index.find(name, list(tools.catalogue.products)) for name in stripped if name]
    return list(dict.fromkeys(next(iter(scores)) for scores in matches if scores))


def _describe_comparison(comparison: ProductComparison) -> str:
    titles = {product.item: product.title for product in comparison.items}
    rows = [
        f"{name}: " + ", ".join(f"{titles[item]} {'–' if value is None else value}" for item, value in row.items())
        for name, row in comparison.differ.items()
    ]
    sentences = [("; ".join(rows) or "They do not differ in any column of the catalogue") + "."]
    if comparison.cheapest:
        sentences.append(f"Cheapest: {titles[comparison.cheapest]}.")
    if comparison.closest:
        sentences.append(f"Closest to what you had: {titles[comparison.closest]}.")
    return " ".join(sentences)
