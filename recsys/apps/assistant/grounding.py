"""A language model's text, compared with what the functions returned: ids that it invented are struck out."""

import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel

from recsys.apps.assistant.catalogue import Catalogue
from recsys.apps.assistant.results import ListedProduct, ProductExplanation
from recsys.apps.assistant.words import clean_text

STRUCK_OUT = "[no product of this shop]"
WORD = r"[^\s\[\](){}<>,;!?\"“”'`*|=]+"


def ground_reply(text: str, results: Sequence[BaseModel], catalogue: Catalogue) -> tuple[str, list[ListedProduct]]:
    """The text with invented ids struck out, and the products that it names; those of the last list if it names none.

    An id is text in square brackets, an id of the catalogue, or a word of the same form as one: invented ids look like
    real ones. A number stays if the results contain it, for example as a price.
    """
    listed = {product.item: product for result in results for product in _list_products(result, catalogue)}
    allowed = set(listed) | {product.because for product in listed.values() if product.because}
    words_in_results = set(re.findall(WORD, " ".join(result.model_dump_json() for result in results)))
    numbers = {_parse_number(word) for word in words_in_results} - {None}
    id_forms = _collect_id_forms(catalogue.products)

    def strike_out(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[0] if match[1] in listed else STRUCK_OUT
        word = match[2].strip(".:")
        is_id = word in catalogue.products or (_id_form(word) in id_forms and word not in words_in_results)
        return STRUCK_OUT if is_id and word not in allowed and _parse_number(word) not in numbers else match[0]

    text = re.sub(rf"\[([^\[\]]*)\]|({WORD})", strike_out, clean_text(text, 4000) or "")
    names = dict.fromkeys(item for item in re.findall(r"\[([^\[\]]*)\]", text) if item in listed)
    return text or "Here is what I found.", [listed[item] for item in names] or _last_list(results)


def _list_products(result: BaseModel, catalogue: Catalogue) -> list[ListedProduct]:
    """The products in the result of a function."""
    if isinstance(result, ProductExplanation):
        columns = catalogue.products[result.item].columns
        return [ListedProduct(item=result.item, title=result.title, because=result.because, columns=columns)]
    return list(getattr(result, "items", []))


def _last_list(results: Sequence[BaseModel]) -> list[ListedProduct]:
    lists = [result.items for result in results if getattr(result, "items", None)]  # type: ignore[attr-defined]
    return list(lists[-1]) if lists else []


def _collect_id_forms(items: Iterable[str]) -> set[str]:
    """The forms of ids that contain digits."""
    return {form for form in map(_id_form, items) if any(map(str.isdigit, form))}


def _id_form(word: str) -> str:
    """The word with 9 for every digit and a for every letter."""
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", word.casefold()))


def _parse_number(word: str) -> float | None:
    try:
        return float(word.strip("$€£.:").replace(",", ""))
    except ValueError:
        return None
