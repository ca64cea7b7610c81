"""Columns of users, items and events as numbers: categories as codes, numbers standardised.

Row or code 0 always means "unknown". A column that holds several values (a list, or text with a separator)
becomes several codes a row, padded with 0.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_float_dtype

from recsys.data.schema import Columns
from recsys.data.text import TFIDF, identity_of
from recsys.errors import DataError

DERIVED = {"hour": 24, "weekday": 7, "month": 12, "season": 4}
"""what a timestamp alone tells, and how many values it has"""
TEXT = "text"
"""the item feature that stands for the text of an item"""

LATER = ("item", "event", "value", "weight", "basket", "row", "money")
"""roles of columns that say what happened: nobody knows them when the question is asked"""


@dataclass(frozen=True)
class Features:
    """Names of the columns that models may use, and the separator inside text that holds several values.

    `context` columns come with the event and must be known when the question is asked; hour, weekday, month and
    season are derived from its time. `segments`, such as "user.age" or "item.aisle", are never seen by models:
    rankings are reported by them. The item columns `text` are read as one text, which `text_encoder` (tfidf, or the
    folder of a sentence-transformers model) makes a vector of `text_dim` numbers: the item feature "text".
    """

    user: Sequence[str] = ()
    item: Sequence[str] = ()
    context: Sequence[str] = ()
    segments: Sequence[str] = ()
    separator: str = "|"
    text: Sequence[str] = ()
    text_encoder: str = TFIDF
    text_dim: int = 64

    def __post_init__(self) -> None:
        if self.text and TEXT in self.item:
            raise DataError(f"features.item names '{TEXT}', which is what features.text makes; rename that column")
        if self.text_dim < 1:
            raise DataError(f"features.text_dim={self.text_dim} is no number of dimensions; use 1 or more")
        if not self.separator:
            raise DataError("features.separator is empty; write a text that no value contains")
        for name in self.segments:
            kind, _, column = name.partition(".")
            if kind not in ("user", "item") or not column:
                raise DataError(f"features.segments names '{name}'; write user.COLUMN or item.COLUMN")

    @property
    def brought(self) -> tuple[str, ...]:
        """Context columns that the event log itself must have."""
        return tuple(name for name in self.context if name not in DERIVED)

    def refuse_later(self, columns: Columns) -> None:
        """Raises DataError for a context column that the log names as something known only after the event."""
        for role in LATER:
            if getattr(columns, role) in self.brought:
                raise DataError(
                    f"features.context names '{getattr(columns, role)}', which is data.columns.{role} and known only "
                    "after the event; leave it out"
                )

    def describe(self) -> dict[str, Any]:
        """What a prepared dataset depends on: a language model by what is in its files."""
        settings = asdict(self)
        if not self.text:
            return {name: value for name, value in settings.items() if not name.startswith(TEXT)}
        return settings | {"text_encoder": identity_of(self.text_encoder)}

    def columns(self, kind: str) -> list[str]:
        """Columns of the `user` or `item` table that models may use, each once."""
        return list(dict.fromkeys(self.user if kind == "user" else self.item))

    def segment_columns(self, kind: str) -> list[str]:
        """Columns of the `user` or `item` table that rankings are reported by, each once."""
        names = (name.partition(".") for name in self.segments)
        return list(dict.fromkeys(column for of, _, column in names if of == kind))


@dataclass(frozen=True)
class Encoder:
    """How one column becomes numbers: `values` of a category in code order from 1, or mean and deviation. A vector is
    of `width` numbers, which come from elsewhere.
    """

    kind: str
    values: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    width: int = 1

    @property
    def size(self) -> int:
        """The number of codes, unknown included; 1 for a number."""
        return len(self.values) + 1 if self.kind == "category" else 1

    def encode(self, column: pd.Series, separator: str) -> np.ndarray:
        """(N, width) int32 codes or (N, 1) float32."""
        if self.kind == "number":
            scaled = (as_numbers(column) - self.mean) / self.deviation
            return scaled.fillna(0.0).to_numpy(np.float32)[:, None]
        place, distinct = pd.factorize(_text(column, separator))
        codes = {value: code for code, value in enumerate(self.values, start=1)}
        rows = np.zeros((len(distinct) + 1, self.width), dtype=np.int32)  # the last one, at -1, is for nulls
        for row, cell in enumerate(distinct):
            known = [codes.get(value, 0) for value in cell.split(separator)][: self.width]
            rows[row, : len(known)] = known
        return rows[place]


def fit_encoder(column: pd.Series, separator: str) -> Encoder:
    """The encoder of a column: floats are numbers, all else categories, the most frequent first."""
    if is_float_dtype(column) or isinstance(next(iter(column.dropna()), None), Decimal):
        numbers = as_numbers(column).dropna()
        deviation = float(numbers.std()) if len(numbers) > 1 else 1.0
        return Encoder("number", (), float(numbers.mean()) if len(numbers) else 0.0, deviation or 1.0)
    place, distinct = pd.factorize(_text(column, separator))
    counts: Counter[str] = Counter()
    for cell, n in zip(distinct, np.bincount(place[place >= 0], minlength=len(distinct)), strict=True):
        counts.update(dict.fromkeys(filter(None, cell.split(separator)), int(n)))
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    return Encoder("category", tuple(ordered), width=max((c.count(separator) + 1 for c in distinct), default=1))


def derive(name: str, seconds: np.ndarray, zone: str) -> np.ndarray:
    """(N,) codes from 1 of the local hour, weekday (Monday first), month or season (December to February first) of
    times in seconds.
    """
    local = pd.DatetimeIndex(pd.to_datetime(seconds, unit="s", utc=True)).tz_convert(zone)
    parts = {
        "hour": local.hour,
        "weekday": local.day_of_week,
        "month": local.month - 1,
        "season": local.month % 12 // 3,
    }
    part = parts[name]
    return np.asarray(part, dtype=np.int32) + 1


def aligned(table: pd.DataFrame, ids: Sequence[Any], kind: str) -> pd.DataFrame:
    """The rows of a side table in the order of `ids`, null where it has none; DataError if it has none at all."""
    wanted = [str(i) for i in ids]
    if not table.index.isin(wanted).any():
        raise DataError(
            f"no {kind} of the events is in the {kind} table: ids there look like {table.index[:3].tolist()}, "
            f"in the events like {wanted[:3]}"
        )
    return table.reindex(wanted).reset_index(drop=True)


def as_numbers(column: pd.Series) -> pd.Series:
    """The column as float64, null where it is not finite."""
    return column.astype("float64").replace([np.inf, -np.inf], np.nan)


def _text(column: pd.Series, separator: str) -> pd.Series:
    """The column as text, lists joined by the separator; nulls stay null."""
    filled = column.dropna()
    if len(filled) and isinstance(filled.iloc[0], (list, tuple, np.ndarray)):
        filled = filled.map(lambda cell: separator.join(map(str, cell)))
    return filled.astype(str).reindex(column.index)
