"""Writes a split log as the flat arrays of a prepared dataset.

N events, I items, W values a row at most; row 0 of user and item arrays is "unknown".
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.data.event_log import Array, EventLog, count_codes, iterate_blocks, to_seconds, write_array
from recsys.data.features import TEXT, TIME_FEATURES, Encoder, align_rows, derive_time_feature, fit_encoder
from recsys.data.preparation.numbering import Numbering, number_users_and_items
from recsys.data.preparation.segments import encode_segments
from recsys.data.preparation.splits import SplitLog
from recsys.data.preparation.vocabulary import Vocabulary, extend_encoder
from recsys.data.settings import DataSettings
from recsys.data.text import fit_text_encoder, join_texts
from recsys.errors import DataError

Ids = dict[str, pd.Series]
"""raw ids of `user` and `item` in the order of their codes"""
log = logging.getLogger(__name__)


def write_arrays(
    folder: Path,
    split_log: SplitLog,
    ids: Ids,
    side_tables: dict[str, pd.DataFrame],
    settings: DataSettings,
    vocabulary: Vocabulary,
) -> dict[str, Any]:
    """Write every array into `folder`; returns what metadata.json says about them."""
    numbering = number_users_and_items(split_log, vocabulary)
    writer = ArrayWriter(folder, split_log.log, numbering, settings, vocabulary)
    writer.add_events()
    writer.add_event_types()
    raw_ids = {"user": ids["user"].iloc[numbering.users], "item": ids["item"].iloc[numbering.items]}
    for entity, table in side_tables.items():
        writer.add_side_table(entity, align_rows(table, raw_ids[entity].tolist(), entity))
    for name in settings.features.context:
        writer.add_context(name)
    writer.save()
    _write_ids(folder, "user", raw_ids["user"], np.diff(numbering.offsets))
    _write_ids(folder, "item", raw_ids["item"], writer.arrays["item_counts"][1:])
    return writer.describe()


class ArrayWriter:
    """Collects the arrays of one dataset by name; those of all events are written at once, to save memory."""

    def __init__(
        self, folder: Path, events: EventLog, numbering: Numbering, settings: DataSettings, vocabulary: Vocabulary
    ) -> None:
        self.folder, self.events, self.numbering = folder, events, numbering
        self.features, self.zone, self.vocabulary = settings.features, settings.clock.zone, vocabulary
        self.arrays: dict[str, Array] = {}
        self.encoders: dict[str, dict[str, Encoder]] = {"user": {}, "item": {}, "context": {}}
        self.event_encoder: Encoder | None = None
        self.segments: dict[str, tuple[str, ...]] = {}

    def add_events(self) -> None:
        """Add items, baskets, offsets, split, item_counts and, where the log has them, timestamps and weights."""
        events, n, numbering = self.events, len(self.events), self.numbering
        numbers = numbering.item_numbers()
        items = (numbers[codes] for _, codes in iterate_blocks(events.items))
        self.arrays["items"] = write_array(self.folder / "items.npy", np.int32, n, items)
        self.arrays["baskets"] = write_array(self.folder / "baskets.npy", np.int64, n, _iterate_baskets(events))
        self.arrays["offsets"] = numbering.offsets
        self.arrays["split"] = numbering.bounds
        counts = count_codes(self.arrays["items"], len(numbering.items) + 1, numbering.training_targets)
        self.arrays["item_counts"] = counts
        if events.timestamps is not None:
            times = (to_seconds(block) for _, block in iterate_blocks(events.timestamps))
            self.arrays["timestamps"] = write_array(self.folder / "timestamps.npy", np.int64, n, times)
        if events.weights is not None:
            self.arrays["weights"] = events.weights

    def add_event_types(self) -> None:
        """Add is_target and event, if only some types of events are to be predicted."""
        if self.events.is_target is None:
            return
        types, separator = pd.Series(self.events.event_types), self.features.separator
        encoder = extend_encoder(fit_encoder(types, separator), self.vocabulary.event, "event")
        self.event_encoder = encoder
        self.arrays["is_target"], self.arrays["event"] = self.events.is_target, encoder.encode(types, separator)

    def add_side_table(self, entity: str, table: pd.DataFrame) -> None:
        """Add the features and segments of `user` or `item`, whose rows are in the order of their numbers."""
        for name in self.features.columns(entity):
            self.arrays[f"{entity}_{name}"] = self._encode(entity, name, table[name])
        if entity == "item" and self.features.text:
            self._add_text(table[[*self.features.text]])
        for name in self.features.segment_columns(entity):
            self.segments[f"{entity}.{name}"], codes = encode_segments(table[name], self.features.separator)
            self.arrays[f"segment_{entity}.{name}"] = _prepend_unknown(codes)

    def add_context(self, name: str) -> None:
        """Add a context feature: a column of the events, encoded as in training, or derived from their times."""
        training = self.numbering.training
        codes, encoder = self._derive(name) if name in TIME_FEATURES else self._encode_context(name)
        self.arrays[f"context_{name}"], self.encoders["context"][name] = codes, encoder
        _warn_of_item_column(name, self.arrays["items"][training], codes[training])

    def save(self) -> None:
        """Write the arrays that are not in files yet."""
        for name, array in self.arrays.items():
            if not (self.folder / f"{name}.npy").exists():
                np.save(self.folder / f"{name}.npy", array)

    def describe(self) -> dict[str, Any]:
        """What metadata.json says about the arrays."""
        encoders = {entity: {k: asdict(e) for k, e in columns.items()} for entity, columns in self.encoders.items()}
        return {
            "n_users": len(self.numbering.users),
            "n_items": self.numbering.n_items,
            "n_later_items": len(self.numbering.items) - self.numbering.n_items,
            "features": encoders,
            "segments": self.segments,
            "event": self.event_encoder and asdict(self.event_encoder),
            "arrays": {name: _hash_arrays(array) for name, array in self.arrays.items()},
            "split_hash": _hash_arrays(*(self.arrays[name] for name in ("items", "offsets", "split"))),
        }

    def _encode(self, entity: str, name: str, column: pd.Series) -> Array:
        separator = self.features.separator
        old = self.vocabulary.encoder(entity, name)
        encoder = extend_encoder(fit_encoder(column, separator), old, f"{entity}.{name}")
        self.encoders[entity][name] = encoder
        return _prepend_unknown(encoder.encode(column, separator))

    def _add_text(self, table: pd.DataFrame) -> None:
        """Add vectors of all items' texts, by the old encoder or else by one fitted on the training items."""
        texts, encoder = join_texts(table), self.vocabulary.text_encoder(self.features)
        if encoder is None:
            name, dim = self.features.text_encoder, self.features.text_dim
            encoder, vectors = fit_text_encoder(texts, self.numbering.n_items, name, dim)
        else:
            vectors = encoder.encode(texts)
        encoder.write(self.folder)
        self.arrays[f"item_{TEXT}"] = _prepend_unknown(vectors)
        self.encoders["item"][TEXT] = Encoder("vector", width=len(encoder.mean))

    def _encode_context(self, name: str) -> tuple[Array, Encoder]:
        column, separator = pd.Series(self.events.extra[name]), self.features.separator
        fitted = fit_encoder(column[self.numbering.training], separator)
        encoder = extend_encoder(fitted, self.vocabulary.encoder("context", name), name)
        return encoder.encode(column, separator), encoder

    def _derive(self, name: str) -> tuple[Array, Encoder]:
        if self.events.timestamps is None:
            raise DataError(f"features.context={name} needs times; name the column under data.columns.timestamp")
        encoder = Encoder("category", tuple(map(str, range(TIME_FEATURES[name]))))
        return derive_time_feature(name, to_seconds(self.events.timestamps), self.zone)[:, None], encoder


def _iterate_baskets(events: EventLog) -> Iterator[Array]:
    """The numbers of the baskets; without baskets each event has its own number."""
    if events.baskets is not None:
        yield events.basket_numbers
    else:
        yield from (np.arange(at.start, at.start + len(block)) for at, block in iterate_blocks(events.users))


def _prepend_unknown(codes: Array) -> Array:
    """The codes with row 0, that of padding and of unknown users, in front."""
    return np.concatenate([np.zeros_like(codes[:1]), codes])


def _warn_of_item_column(name: str, items: Array, codes: Array) -> None:
    """Log a warning if a context column, which requests must bring, has one value per item: it reveals the target."""
    if codes.dtype.kind == "f":
        return
    filled = codes[:, 0] > 0
    pairs = np.unique(np.stack([items, codes[:, 0]])[:, filled], axis=1)
    n_items = len(np.unique(pairs[0]))
    if len(pairs[0]) == n_items and len(np.unique(pairs[1])) > 1 and filled.sum() > 2 * n_items:
        log.warning("context '%s' has one value per item, so it reveals the target; leave it out", name)


def _write_ids(folder: Path, name: str, raw_ids: pd.Series, n_events: Array) -> None:
    """Write users.parquet or items.parquet: raw ids, their numbers from 1, and how many events they have."""
    numbers = np.arange(1, len(raw_ids) + 1)
    frame = pd.DataFrame({name: raw_ids.to_numpy(), "number": numbers, "n": n_events})
    frame.to_parquet(folder / f"{name}s.parquet", index=False)


def _hash_arrays(*arrays: Array) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        for _, block in iterate_blocks(array):
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()
