"""The shop's products: what each is called, what it costs, whether it is there, and whatever else its table says."""

import datetime
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from recsys.errors import ConfigError
from recsys.extras import require_extra
from recsys.serving.recommender import RequestError

OWN = ("item", "title", "price", "category", "stock")
FEW, WORDS = 1000, 4
"""distinct texts at most, and words of each, for a column to be one that products are told apart by"""


@dataclass(frozen=True)
class Product:
    """One row of the table."""

    item: str
    title: str
    price: float | None = None
    category: str | None = None
    in_stock: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Any]:
        """All but id and title, as JSON."""
        own = {"price": self.price, "category": self.category}
        return {**{k: v for k, v in own.items() if v is not None}, **self.more, "in_stock": self.in_stock}

    @cached_property
    def text(self) -> str:
        """What is searched: title, category and all other texts."""
        more = (value for value in self.more.values() if isinstance(value, str))
        return " ".join([self.title, self.category or "", *more]).strip()

    @cached_property
    def stems(self) -> frozenset[str]:
        """Of the text."""
        return frozenset(stems(self.text))


class Wishes(BaseModel):
    """What a product has to be."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    low: float | None = Field(default=None, description="the price is this or more")
    high: float | None = Field(default=None, description="the price is less than this")
    only: dict[str, str] = Field(default={}, max_length=20, description="words that a column has, by the column's name")
    without: list[str] = Field(default=[], max_length=20, description="words that stand nowhere in a product's text")

    def fit(self, product: Product) -> bool:
        """Whether it is all of that; a product without a price fits no price."""
        price = product.price
        return (
            (self.low is None or (price is not None and price >= self.low))
            and (self.high is None or (price is not None and price < self.high))
            and all(_has(product, column, words) for column, words in self.only.items())
            and not any(set(stems(words)) <= product.stems for words in self.without if stems(words))
        )


class Catalogue:
    """Products by id, in the order of the table; ConfigError for an id that is there twice."""

    def __init__(self, products: Iterable[Product]) -> None:
        self.products: dict[str, Product] = {}
        for product in products:
            if product.item in self.products:
                raise ConfigError(f"the catalogue has the item '{product.item}' twice; keep one row of each")
            self.products[product.item] = product
        if not self.products:
            raise ConfigError("the catalogue has no rows")

    @cached_property
    def facets(self) -> dict[str, list[str]]:
        """Columns of few short texts, and these, of a cell with commas each: what products can be told apart by."""
        found: dict[str, dict[str, None]] = {}
        for product in self.products.values():
            for name, value in {"category": product.category, **product.more}.items():
                if isinstance(value, str):
                    parts = [part.strip() for part in re.split(r"[|,;]", value)]
                    found.setdefault(name, {}).update(dict.fromkeys(part for part in parts if part))
        short = {name: max(len(value.split()) for value in values) <= WORDS for name, values in found.items() if values}
        return {name: list(found[name]) for name, fine in short.items() if fine and len(found[name]) <= FEW}

    @cached_property
    def titles(self) -> frozenset[tuple[str, ...]]:
        """Whole titles as `title_key` has them."""
        return frozenset(title_key(product.title) for product in self.products.values())

    def facet(self, words: str) -> str | None:
        """The column that has these words among its texts."""
        wanted = set(stems(words))
        for name, values in self.facets.items():
            if wanted and any(wanted <= set(stems(value)) for value in values):
                return name
        return None

    def chosen(self, wishes: Wishes, leave_out: Sequence[str] = ()) -> list[str]:
        """Ids of what is in stock and fits; RequestError for a column that products are not told apart by."""
        for name in wishes.only:
            if name not in self.facets:
                raise RequestError(f"there is no column '{name}' to choose by; there are: {', '.join(self.facets)}")
        out = set(leave_out)
        return [item for item, one in self.products.items() if one.in_stock and item not in out and wishes.fit(one)]


def read(path: str, columns: Mapping[str, str | None]) -> Catalogue:
    """The catalogue of a Parquet or CSV file. `columns` names those of `item`, `title`, `price`, `category`, `stock`;
    null stands for a column of that very name, if there is one. Raises ConfigError.
    """
    table = _table(Path(path), columns.get("item") or "item")
    if strange := set(columns) - set(OWN):
        raise ConfigError(f"columns.{min(strange)} is unknown; the catalogue's columns are: {', '.join(OWN)}")
    names: dict[str, str] = {}
    for own in OWN:
        name = columns.get(own) or own
        if name in table:
            names[own] = name
        elif columns.get(own) or own in ("item", "title"):
            raise ConfigError(f"'{path}' has no column '{name}'; set columns.{own} to one of: {', '.join(table)}")
    return Catalogue(_products(table, names, path))


@lru_cache(100_000)
def stems(text: str) -> tuple[str, ...]:
    """The words of a text in small letters, without accents and English endings."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign)).replace("'", "").replace("’", "")
    return tuple(_stemmer().stemWords(re.findall(r"[^\W_]+", plain)))


def title_key(text: str) -> tuple[str, ...]:
    """The stems of a title in alphabetical order, without articles and what stands in brackets."""
    return tuple(sorted(set(stems(re.sub(r"\(.*?\)", " ", text))) - {"the", "a", "an"}))


@cache
def _stemmer() -> Any:
    with require_extra("assistant"):
        import Stemmer
    return Stemmer.Stemmer("english")


def _has(product: Product, column: str, words: str) -> bool:
    return set(stems(words)) <= set(stems(str(product.columns.get(column) or "")))


def _table(path: Path, item: str) -> dict[str, list[Any]]:
    import pyarrow as pa

    from recsys.serving.item_table import read_item_table

    if not path.is_file():
        raise ConfigError(f"there is no file '{path}'; catalogue= takes a Parquet or CSV file with a row a product")
    try:
        found = read_item_table(path, item)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"'{path}' is no Parquet or CSV file: {str(error).splitlines()[0]}") from error
    columns: dict[str, list[Any]] = found.to_pydict()
    return columns


def _products(table: Mapping[str, list[Any]], names: Mapping[str, str], path: str) -> Iterable[Product]:
    more = [name for name in table if name not in names.values()]
    for n in range(len(table[names["item"]])):
        row = {own: table[name][n] for own, name in names.items()}
        if row["item"] is None:
            raise ConfigError(f"'{path}' has no item in row {n + 1}; every product needs an id")
        yield Product(
            str(row["item"]),
            shown(row["title"]) or str(row["item"]),
            _none_if_nan(_number("price", row.get("price"), path, n)),
            shown(row.get("category")),
            "stock" not in row or _number("stock", row["stock"], path, n) > 0,
            {name: value for name in more if (value := _plain(table[name][n])) is not None},
        )


def _number(name: str, value: Any, path: str, n: int) -> float:
    """A cell as a number, true as 1; NaN for an empty one."""
    if isinstance(value, str):
        raise ConfigError(f"'{path}' has the {name} {value!r:.40} in row {n + 1}; give it as a number")
    return float("nan") if value is None else float(value)


def _none_if_nan(value: float) -> float | None:
    return None if value != value else value


def _plain(value: Any) -> Any:
    """A cell as JSON; None where there is nothing to say."""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return shown(str(value) if isinstance(value, datetime.date) else value)


def shown(value: Any, most: int = 300) -> str | None:
    """A text in one line without control signs, which terminals and prompts would obey; None for an empty one."""
    if value is None or value != value:
        return None
    text = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in str(value))
    return " ".join(text.split())[:most] or None
