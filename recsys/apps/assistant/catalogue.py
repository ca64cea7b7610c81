"""The shop's products: title, price, category, stock and the other columns of its table."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from recsys.apps.assistant.words import normalize_title, stem_words
from recsys.errors import ConfigError
from recsys.serving.recommender import RequestError

MAX_FACET_VALUES, MAX_FACET_WORDS = 1000, 4
"""a facet, a column to filter by, has at most this many distinct texts, each with at most this many words"""


@dataclass(frozen=True)
class CatalogueProduct:
    """One row of the table."""

    item: str
    title: str
    price: float | None = None
    category: str | None = None
    in_stock: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Any]:
        """All columns but id and title, as JSON."""
        columns = {"price": self.price, "category": self.category}
        present = {name: value for name, value in columns.items() if value is not None}
        return {**present, **self.more, "in_stock": self.in_stock}

    @cached_property
    def text(self) -> str:
        """The text that is searched: title, category and all other texts."""
        texts = (value for value in self.more.values() if isinstance(value, str))
        return " ".join([self.title, self.category or "", *texts]).strip()

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of the text that is searched."""
        return frozenset(stem_words(self.text))


class Wishes(BaseModel):
    """The conditions that a product has to meet."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    low: float | None = Field(default=None, description="lowest price")
    high: float | None = Field(default=None, description="upper limit of the price, which is excluded")
    only: dict[str, str] = Field(
        default={}, max_length=20, description="words that a column must have, by the column's name"
    )
    without: list[str] = Field(default=[], max_length=20, description="words that a product's text must not have")

    def match(self, product: CatalogueProduct) -> bool:
        """Whether the product meets all wishes; one without a price meets no limit on the price."""
        price = product.price
        return (
            (self.low is None or (price is not None and price >= self.low))
            and (self.high is None or (price is not None and price < self.high))
            and all(_column_has_words(product, column, words) for column, words in self.only.items())
            and not any(set(stem_words(words)) <= product.stems for words in self.without if stem_words(words))
        )


class Catalogue:
    """Products by id, in the order of the table. Raises ConfigError for a repeated id or an empty table."""

    def __init__(self, products: Iterable[CatalogueProduct]) -> None:
        self.products: dict[str, CatalogueProduct] = {}
        for product in products:
            if product.item in self.products:
                raise ConfigError(f"the catalogue has the item '{product.item}' twice; keep one row per item")
            self.products[product.item] = product
        if not self.products:
            raise ConfigError("the catalogue has no rows")

    @cached_property
    def facets(self) -> dict[str, list[str]]:
        """Columns to filter by, with their distinct texts; a cell may list several texts, separated by commas."""
        texts: dict[str, dict[str, None]] = {}
        for product in self.products.values():
            for name, value in {"category": product.category, **product.more}.items():
                if isinstance(value, str):
                    stripped = (text.strip() for text in re.split(r"[|,;]", value))
                    texts.setdefault(name, {}).update(dict.fromkeys(text for text in stripped if text))
        return {name: list(values) for name, values in texts.items() if _is_facet(list(values))}

    @cached_property
    def titles(self) -> frozenset[tuple[str, ...]]:
        """Whole titles, each as `normalize_title` has it."""
        return frozenset(normalize_title(product.title) for product in self.products.values())

    def find_facet(self, words: str) -> str | None:
        """The first facet that has these words in one of its texts."""
        stems = set(stem_words(words))
        for name, values in self.facets.items():
            if stems and any(stems <= set(stem_words(value)) for value in values):
                return name
        return None

    def select(self, wishes: Wishes, exclude: Sequence[str] = ()) -> list[str]:
        """Ids of the products in stock that meet the wishes. Raises RequestError for a column that is not a facet."""
        for name in wishes.only:
            if name not in self.facets:
                raise RequestError(f"there is no column '{name}' to filter by; there are: {', '.join(self.facets)}")
        candidates = [product for product in self.products.values() if product.in_stock]
        excluded = set(exclude)
        return [p.item for p in candidates if p.item not in excluded and wishes.match(p)]


def _is_facet(values: Sequence[str]) -> bool:
    return 0 < len(values) <= MAX_FACET_VALUES and max(len(value.split()) for value in values) <= MAX_FACET_WORDS


def _column_has_words(product: CatalogueProduct, column: str, words: str) -> bool:
    return set(stem_words(words)) <= set(stem_words(str(product.columns.get(column) or "")))
