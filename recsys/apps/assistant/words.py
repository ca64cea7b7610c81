"""Texts of the catalogue and of customers, made comparable: stems, titles, one clean line."""

import re
import unicodedata
from functools import cache, lru_cache
from typing import Any

from recsys.extras import require_extra


@lru_cache(100_000)
def stem_words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, without accents and English endings."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    folded = "".join(sign for sign in folded if not unicodedata.combining(sign)).replace("'", "").replace("’", "")
    return tuple(_stemmer().stemWords(re.findall(r"[^\W_]+", folded)))


def normalize_title(text: str) -> tuple[str, ...]:
    """The stems of a title in alphabetical order, without articles and without text in brackets."""
    return tuple(sorted(set(stem_words(re.sub(r"\(.*?\)", " ", text))) - {"the", "a", "an"}))


def clean_text(value: Any, max_length: int = 300) -> str | None:
    """The value as one line without control characters, which terminals and prompts would obey; None if empty."""
    if value is None or value != value:
        return None
    text = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in str(value))
    return " ".join(text.split())[:max_length] or None


@cache
def _stemmer() -> Any:
    with require_extra("assistant"):
        import Stemmer
    return Stemmer.Stemmer("english")
