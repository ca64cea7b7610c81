"""Columns of users, items and events as numbers: categories as codes, numbers standardised.

N rows, W values per row at most. Row or code 0 always means "unknown". A column that holds several values (a list, or
text with a separator) becomes several codes per row, padded with 0.
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
from recsys.data.text import TFIDF, hash_text_encoder
from recsys.errors import DataError

TIME_FEATURES = {"hour": 24, "weekday": 7, "month": 12, "season": 4}
"""context features that are derived from the time of an event → how many values they have"""
TEXT = "text"
"""the item feature made from the text of an item"""
OUTCOME_ROLES = ("item", "event", "value", "weight", "basket", "row", "money")
"""roles of columns that say what happened: a request for recommendations cannot know them"""


@dataclass(frozen=True)
class Features:
    """Names of the columns that models may use, and the separator inside text that holds several values.

    `context` columns come with the event and must be known when recommendations are requested; hour, weekday, month and
    season are derived from its time. `segments`, such as "user.age" or "item.aisle", are never seen by models: metrics
    are reported for each of their values. The item columns `text` are read as one text, from which `text_encoder`
    (tfidf, or the folder of a sentence-transformers model) makes a vector of `text_dim` numbers: the item feature
    "text".
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
            raise DataError(
                f"features.item names '{TEXT}', which is the feature that features.text makes; rename that column"
            )
        if self.text_dim < 1:
            raise DataError(f"features.text_dim={self.text_dim} is invalid: expected a whole number ≥ 1")
        if not self.separator:
            raise DataError("features.separator is empty; write a text that no value contains")
        for name in self.segments:
            entity, _, column = name.partition(".")
            if entity not in ("user", "item") or not column:
                raise DataError(f"features.segments names '{name}'; write user.COLUMN or item.COLUMN")

    @property
    def context_columns(self) -> tuple[str, ...]:
        """Context features that are columns of the events, not derived from their times."""
        return tuple(name for name in self.context if name not in TIME_FEATURES)

    def check_context(self, columns: Columns) -> None:
        """Raises DataError for a context column that is only known after the event, such as its basket."""
        for role in OUTCOME_ROLES:
            if getattr(columns, role) in self.context_columns:
                raise DataError(
                    f"features.context names '{getattr(columns, role)}', which is data.columns.{role} and known only "
                    "after the event; leave it out"
                )

    def describe(self) -> dict[str, Any]:
        """What a prepared dataset depends on; a language model is described by the content of its files."""
        settings = asdict(self)
        if not self.text:
            return {name: value for name, value in settings.items() if not name.startswith(TEXT)}
        return settings | {"text_encoder": hash_text_encoder(self.text_encoder)}

    def columns(self, entity: str) -> list[str]:
        """Columns of the `user` or `item` table that models may use, each once."""
        return list(dict.fromkeys(self.user if entity == "user" else self.item))

    def segment_columns(self, entity: str) -> list[str]:
        """Columns of the `user` or `item` table that metrics are reported by, each once."""
        names = (name.partition(".") for name in self.segments)
        return list(dict.fromkeys(column for table, _, column in names if table == entity))


@dataclass(frozen=True)
class Encoder:
    """How one column becomes numbers; `kind` is category, number or vector.

    A category has `values` in code order from 1, a number has `mean` and `deviation`. A vector of `width` numbers is
    made elsewhere, by a text encoder.
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
        """(N, W) int32 codes of a category or (N, 1) float32 of a number."""
        if self.kind == "number":
            scaled = (to_finite_floats(column) - self.mean) / self.deviation
            return scaled.fillna(0.0).to_numpy(np.float32)[:, None]
        cell_numbers, cells = pd.factorize(_to_text(column, separator))
        codes = {value: code for code, value in enumerate(self.values, start=1)}
        rows = np.zeros((len(cells) + 1, self.width), dtype=np.int32)  # the last one, at -1, is for nulls
        for row, cell in enumerate(cells):
            cell_codes = [codes.get(value, 0) for value in cell.split(separator)][: self.width]
            rows[row, : len(cell_codes)] = cell_codes
        return rows[cell_numbers]


def fit_encoder(column: pd.Series, separator: str) -> Encoder:
    """The encoder of a column: floats are numbers, all else is a category, the most frequent value first."""
    if is_float_dtype(column) or isinstance(next(iter(column.dropna()), None), Decimal):
        numbers = to_finite_floats(column).dropna()
        deviation = float(numbers.std()) if len(numbers) > 1 else 1.0
        return Encoder("number", (), float(numbers.mean()) if len(numbers) else 0.0, deviation or 1.0)
    cell_numbers, cells = pd.factorize(_to_text(column, separator))
    counts: Counter[str] = Counter()
    n_rows = np.bincount(cell_numbers[cell_numbers >= 0], minlength=len(cells))
    for cell, n in zip(cells, n_rows, strict=True):
        counts.update(dict.fromkeys(filter(None, cell.split(separator)), int(n)))
    values = sorted(counts, key=lambda value: (-counts[value], value))
    return Encoder("category", tuple(values), width=max((c.count(separator) + 1 for c in cells), default=1))


def derive_time_feature(name: str, seconds: np.ndarray, zone: str) -> np.ndarray:
    """(N,) int32 codes from 1 of a time feature in local time, for times in seconds.

    hour; weekday, Monday first; month; season, December to February first.
    """
    local = pd.DatetimeIndex(pd.to_datetime(seconds, unit="s", utc=True)).tz_convert(zone)
    values = {
        "hour": local.hour,
        "weekday": local.day_of_week,
        "month": local.month - 1,
        "season": local.month % 12 // 3,
    }
    return np.asarray(values[name], dtype=np.int32) + 1


def align_rows(table: pd.DataFrame, ids: Sequence[Any], entity: str) -> pd.DataFrame:
    """The rows of a side table in the order of `ids`, null where it has none; DataError if it has none at all."""
    texts = [str(i) for i in ids]
    if not table.index.isin(texts).any():
        raise DataError(
            f"no {entity} of the events is in the {entity} table: ids there look like {table.index[:3].tolist()}, "
            f"in the events like {texts[:3]}"
        )
    return table.reindex(texts).reset_index(drop=True)


def to_finite_floats(column: pd.Series) -> pd.Series:
    """The column as float64, null where it is not finite."""
    return column.astype("float64").replace([np.inf, -np.inf], np.nan)


def _to_text(column: pd.Series, separator: str) -> pd.Series:
    """The column as text, lists joined by the separator; nulls stay null."""
    filled = column.dropna()
    if len(filled) and isinstance(filled.iloc[0], (list, tuple, np.ndarray)):
        filled = filled.map(lambda cell: separator.join(map(str, cell)))
    return filled.astype(str).reindex(column.index)
