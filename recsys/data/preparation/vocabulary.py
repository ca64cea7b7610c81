"""Numbers that an earlier dataset gave: its users, items and values keep them, new ones are appended."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.data.dataset import Dataset
from recsys.data.event_log import Log
from recsys.data.features import Encoder, Features
from recsys.data.text import TextEncoder, identity_of
from recsys.errors import DataError

FILES = ("metadata.json", "items.parquet", "users.parquet")
"""what of a prepared dataset is a vocabulary"""


@dataclass(frozen=True)
class Vocabulary:
    """Raw ids in the order of their numbers (items: those of training) and how columns were coded; empty: none yet."""

    users: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))
    items: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))
    encoders: dict[str, dict[str, Encoder]] = field(default_factory=dict)
    event: Encoder | None = None
    text: TextEncoder | None = None

    @classmethod
    def read(cls, folder: str) -> "Vocabulary":
        """The vocabulary of a prepared dataset; DataError if the folder holds none."""
        missing = [name for name in FILES if not (Path(folder) / name).exists()]
        if missing:
            raise DataError(f"data.vocabulary='{folder}' has no {missing[0]}; name the folder of a prepared dataset")
        found = Dataset(Path(folder))
        items = found.raw_items().to_pandas().iloc[: found.n_items]
        return cls(found.raw_users().to_pandas(), items, found.encoders, found.event, found.text)

    def encoder(self, kind: str, name: str) -> Encoder | None:
        """How a column of `user`, `item` or `context` was coded."""
        return self.encoders.get(kind, {}).get(name)

    def text_encoder(self, features: Features) -> TextEncoder | None:
        """How texts were encoded; DataError if it was by another encoder."""
        if self.text is not None and self.text.identity != identity_of(features.text_encoder):
            raise DataError(
                f"texts were encoded by '{self.text.name}' in data.vocabulary and now by '{features.text_encoder}'; "
                "keep data.features.text_encoder, or train anew without vocabulary"
            )
        return self.text


def renumbered(log: Log, ids: dict[str, pd.Series], old: Vocabulary) -> tuple[Log, dict[str, pd.Series]]:
    """The log and its raw ids by code, users and items of the vocabulary first and in its order, also those without an
    event; users' events are moved along.
    """
    users, raw_users = _appended(ids["user"], old.users)
    items, raw_items = _appended(ids["item"], old.items)
    moved = replace(log, users=users[log.users], items=items[log.items])
    moved = moved.take(np.argsort(moved.users, kind="stable"))
    return replace(moved, baskets=moved.numbers), {**ids, "user": raw_users, "item": raw_items}


def _appended(own: pd.Series, old: pd.Series) -> tuple[np.ndarray, pd.Series]:
    """For each own code the new one, and all raw ids by new code."""
    place = {str(raw): code for code, raw in enumerate(old)}
    codes = np.array([place.get(str(raw), -1) for raw in own], dtype=np.int32)
    new = codes < 0
    codes[new] = len(old) + np.arange(new.sum())
    parts = old, own[new]
    if old.dtype != own.dtype:  # numbers here, text there
        parts = old.astype(str), own[new].astype(str)
    return codes, pd.concat(parts, ignore_index=True)


def grown(own: Encoder, old: Encoder | None, name: str) -> Encoder:
    """The encoder of a column that was coded before: values keep their codes and numbers their scale; DataError if the
    column has changed its kind.
    """
    if old is None:
        return own
    if own.kind != old.kind:
        raise DataError(
            f"column '{name}' is a {own.kind} and was a {old.kind} in data.vocabulary; "
            "mend the column, or train anew without vocabulary"
        )
    values = dict.fromkeys((*old.values, *own.values))
    return replace(old, values=tuple(values), width=max(old.width, own.width))
