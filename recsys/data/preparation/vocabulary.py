"""Keeps the numbers of an older dataset: its users, items and values keep them, new ones are appended."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.data.dataset import Dataset
from recsys.data.event_log import EventLog
from recsys.data.features import Encoder, Features
from recsys.data.text import TextEncoder, hash_text_encoder
from recsys.errors import DataError

VOCABULARY_FILES = ("metadata.json", "items.parquet", "users.parquet")
"""the files of a prepared dataset that make up a vocabulary"""


@dataclass(frozen=True)
class Vocabulary:
    """Raw ids in the order of their numbers (items: those of training) and the encoders of columns; empty: none yet."""

    users: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))
    items: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))
    encoders: dict[str, dict[str, Encoder]] = field(default_factory=dict)
    event: Encoder | None = None
    text: TextEncoder | None = None

    @classmethod
    def read(cls, folder: str) -> "Vocabulary":
        """The vocabulary of a prepared dataset; DataError if a file of it is missing from the folder."""
        missing = [name for name in VOCABULARY_FILES if not (Path(folder) / name).exists()]
        if missing:
            raise DataError(f"data.vocabulary='{folder}' has no {missing[0]}; name the folder of a prepared dataset")
        dataset = Dataset(Path(folder))
        items = dataset.raw_items().to_pandas().iloc[: dataset.n_items]
        return cls(dataset.raw_users().to_pandas(), items, dataset.encoders, dataset.event, dataset.text)

    def encoder(self, entity: str, name: str) -> Encoder | None:
        """The encoder of a column of `user`, `item` or `context`, None if the column is new."""
        return self.encoders.get(entity, {}).get(name)

    def text_encoder(self, features: Features) -> TextEncoder | None:
        """The encoder of texts, None if there were none; DataError if the features ask for another encoder."""
        if self.text is not None and self.text.identity != hash_text_encoder(features.text_encoder):
            raise DataError(
                f"texts were encoded by '{self.text.name}' in data.vocabulary and now by '{features.text_encoder}'; "
                "keep data.features.text_encoder, or train again without vocabulary"
            )
        return self.text


def apply_vocabulary(
    events: EventLog, ids: dict[str, pd.Series], old: Vocabulary
) -> tuple[EventLog, dict[str, pd.Series]]:
    """The log and its raw ids by code, with the vocabulary's users and items first and in its order.

    Users and items without an event are included. Events are sorted by the new codes of their users.
    """
    users, raw_users = _append_new(ids["user"], old.users)
    items, raw_items = _append_new(ids["item"], old.items)
    renumbered = replace(events, users=users[events.users], items=items[events.items])
    renumbered = renumbered.take(np.argsort(renumbered.users, kind="stable"))
    return replace(renumbered, baskets=renumbered.basket_numbers), {**ids, "user": raw_users, "item": raw_items}


def _append_new(ids: pd.Series, old: pd.Series) -> tuple[np.ndarray, pd.Series]:
    """The new code of each id, and all raw ids by new code."""
    old_codes = {str(raw): code for code, raw in enumerate(old)}
    codes = np.array([old_codes.get(str(raw), -1) for raw in ids], dtype=np.int32)
    new = codes < 0
    codes[new] = len(old) + np.arange(new.sum())
    all_ids = [old, ids[new]]
    if old.dtype != ids.dtype:  # one has numbers, the other text
        all_ids = [old.astype(str), ids[new].astype(str)]
    return codes, pd.concat(all_ids, ignore_index=True)


def extend_encoder(new: Encoder, old: Encoder | None, name: str) -> Encoder:
    """The old encoder of a column, extended by the values that only the new one knows.

    Values keep their codes and numbers their scale. Raises DataError if the column is a number in one encoder and a
    category in the other.
    """
    if old is None:
        return new
    if new.kind != old.kind:
        raise DataError(
            f"column '{name}' is a {new.kind} and was a {old.kind} in data.vocabulary; "
            "fix the column, or train again without vocabulary"
        )
    values = dict.fromkeys((*old.values, *new.values))
    return replace(old, values=tuple(values), width=max(old.width, new.width))
