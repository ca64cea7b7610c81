"""Writes a split log as the flat arrays of a prepared dataset."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.event_log import Log, before, blocks, counted, plain_pandas, seconds, written
from recsys.data.features import DERIVED, TEXT, Encoder, Features, aligned, derive, fit_encoder
from recsys.data.preparation.segments import segmented
from recsys.data.preparation.splits import Parts
from recsys.data.preparation.validation import checked_ids
from recsys.data.preparation.vocabulary import Vocabulary, grown
from recsys.data.schema import Columns
from recsys.data.sources.files import Tables
from recsys.data.text import fit_text, joined
from recsys.errors import DataError


def side_tables(tables: Tables, columns: Columns, features: Features, engine: Engine) -> dict[str, pd.DataFrame]:
    """The user and item tables that features and segments need: only their columns, indexed by id as text."""
    found = {}
    for kind, table, key in (("user", tables.users, columns.user), ("item", tables.items, columns.item)):
        texts = [*features.text] if kind == "item" else []
        names = dict.fromkeys(features.columns(kind) + texts + features.segment_columns(kind))
        if names:
            frame = columns_by_id(table, kind, key, list(names), engine)
            found[kind] = frame[~frame.index.duplicated()]
    return found


def pack(
    work: Path,
    parts: Parts,
    ids: dict[str, pd.Series],
    side: dict[str, pd.DataFrame],
    features: Features,
    zone: str,
    old: Vocabulary,
) -> dict[str, Any]:
    """Write every array into `work`; returns what metadata.json says of them.

    Items of the old vocabulary keep their numbers from 1; the others follow by how often they are a target in training,
    then raw id; those first seen after training come last.
    """
    log = parts.log
    n_events = counted(log.users, len(old.users))
    present = n_events > 0
    present[: len(old.users)] = True
    used = np.flatnonzero(present)
    bounds = _of_all(parts, used)
    offsets = np.concatenate([[0], np.cumsum(n_events[used])]).astype(np.int64)
    training = before(bounds[:, 0], offsets)
    target = training if log.targets is None else training & log.targets
    order, n_items = _number_items(log.items, training, target, len(old.items))
    number = np.zeros(order.max(initial=0) + 1, dtype=np.int32)
    number[order] = np.arange(1, len(order) + 1)
    items = written(work / "items.npy", np.int32, len(log), (number[codes] for _, codes in blocks(log.items)))
    arrays: dict[str, np.ndarray] = {
        "items": items,
        "baskets": written(work / "baskets.npy", np.int64, len(log), _baskets(log)),
        "offsets": offsets,
        "split": bounds.astype(np.int64),
        "item_counts": counted(items, len(order) + 1, target),
    }
    if log.timestamps is not None:
        times = (seconds(part) for _, part in blocks(log.timestamps))
        arrays["timestamps"] = written(work / "timestamps.npy", np.int64, len(log), times)
    if log.weights is not None:
        arrays["weights"] = log.weights
    event = None
    if log.targets is not None:
        column = pd.Series(log.events)
        event = grown(fit_encoder(column, features.separator), old.event, "event")
        arrays["is_target"], arrays["event"] = log.targets, event.encode(column, features.separator)
    raw_users, raw_items = ids["user"].iloc[used], ids["item"].iloc[order]
    encoders: dict[str, dict[str, Encoder]] = {"user": {}, "item": {}, "context": {}}
    segments: dict[str, tuple[str, ...]] = {}
    for kind, raw in (("user", raw_users), ("item", raw_items)):
        if kind in side:
            table = aligned(side[kind], raw.tolist(), kind)
            encoders[kind] = _add_side(arrays, kind, table[features.columns(kind)], features.separator, old)
            if kind == "item" and features.text:
                encoders[kind][TEXT] = _add_text(work, arrays, table[[*features.text]], n_items, features, old)
            segments |= _add_segments(arrays, kind, table[features.segment_columns(kind)], features.separator)
    for name in features.context:
        arrays[f"context_{name}"], encoders["context"][name] = _context(log, name, training, features, zone, old)
        _warn_of_item_column(name, items[training], arrays[f"context_{name}"][training])
    for name, array in arrays.items():
        if not (work / f"{name}.npy").exists():
            np.save(work / f"{name}.npy", array)
    _write_ids(work, "user", raw_users, np.arange(1, len(used) + 1), np.diff(arrays["offsets"]))
    _write_ids(work, "item", raw_items, np.arange(1, len(order) + 1), arrays["item_counts"][1:])
    return {
        "n_users": len(used),
        "n_items": n_items,
        "n_later_items": len(order) - n_items,
        "features": {kind: {k: asdict(e) for k, e in found.items()} for kind, found in encoders.items()},
        "segments": segments,
        "event": event and asdict(event),
        "arrays": {name: _digest(array) for name, array in arrays.items()},
        "split_hash": _digest(*(arrays[name] for name in ("items", "offsets", "split"))),
    }


def _of_all(parts: Parts, used: np.ndarray) -> np.ndarray:
    """(U, 2) the bounds of the used codes; those after the last user of the log have no events."""
    missing = int(used[-1]) + 1 - len(parts.bounds)
    return np.concatenate([parts.bounds, np.full((max(missing, 0), 2), len(parts.log))])[used]


def _baskets(log: Log) -> Iterator[np.ndarray]:
    """The numbers of the baskets; each event its own where there are none."""
    if log.baskets is not None:
        yield log.numbers
    else:
        yield from (np.arange(part.start, part.start + len(own)) for part, own in blocks(log.users))


def _number_items(items: np.ndarray, training: np.ndarray, target: np.ndarray, n_old: int) -> tuple[np.ndarray, int]:
    """Item codes in the order of their new numbers, the first `n_old` first, and how many are old or occur in
    training.
    """
    everywhere, counts, targets = (counted(items, mask=mask) for mask in (None, training, target))
    new = n_old + np.flatnonzero(everywhere[n_old:])
    order = new[np.lexsort((new, -targets[new], counts[new] == 0))]
    return np.concatenate([np.arange(n_old), order]), n_old + int((counts[new] > 0).sum())


def _add_side(
    arrays: dict[str, np.ndarray], kind: str, table: pd.DataFrame, separator: str, old: Vocabulary
) -> dict[str, Encoder]:
    encoders = {
        str(name): grown(fit_encoder(column, separator), old.encoder(kind, str(name)), f"{kind}.{name}")
        for name, column in table.items()
    }
    for name, encoder in encoders.items():
        arrays[f"{kind}_{name}"] = _with_unknown(encoder.encode(table[name], separator))
    return encoders


def _add_text(
    work: Path, arrays: dict[str, np.ndarray], table: pd.DataFrame, n_items: int, features: Features, old: Vocabulary
) -> Encoder:
    """Vectors of all items' texts by the old encoder, else by one that has learned from those of training."""
    texts, text = joined(table), old.text_encoder(features)
    if text is None:
        text, vectors = fit_text(texts, n_items, features.text_encoder, features.text_dim)
    else:
        vectors = text.encode(texts)
    text.write(work)
    arrays[f"item_{TEXT}"] = _with_unknown(vectors)
    return Encoder("vector", width=len(text.mean))


def _add_segments(
    arrays: dict[str, np.ndarray], kind: str, table: pd.DataFrame, separator: str
) -> dict[str, tuple[str, ...]]:
    values = {}
    for name, column in table.items():
        values[f"{kind}.{name}"], codes = segmented(column, separator)
        arrays[f"segment_{kind}.{name}"] = _with_unknown(codes)
    return values


def _with_unknown(codes: np.ndarray) -> np.ndarray:
    """The codes with row 0, that of nobody and of padding, in front."""
    return np.concatenate([np.zeros_like(codes[:1]), codes])


def _context(
    log: Log, name: str, training: np.ndarray, features: Features, zone: str, old: Vocabulary
) -> tuple[np.ndarray, Encoder]:
    if name not in DERIVED:
        column = pd.Series(log.extra[name])
        encoder = grown(fit_encoder(column[training], features.separator), old.encoder("context", name), name)
        return encoder.encode(column, features.separator), encoder
    if log.timestamps is None:
        raise DataError(f"features.context names {name}: name the times under data.columns.timestamp")
    encoder = Encoder("category", tuple(map(str, range(DERIVED[name]))))
    return derive(name, seconds(log.timestamps), zone)[:, None], encoder


def _warn_of_item_column(name: str, items: np.ndarray, codes: np.ndarray) -> None:
    """Says so where a context column, which a request is to bring, has one value for each item: it tells the target."""
    if codes.dtype.kind == "f":
        return
    known = codes[:, 0] > 0
    pairs = np.unique(np.stack([items, codes[:, 0]])[:, known], axis=1)
    n_items = len(np.unique(pairs[0]))
    if len(pairs[0]) == n_items and len(np.unique(pairs[1])) > 1 and known.sum() > 2 * n_items:
        said = logging.getLogger(__name__)
        said.warning("context '%s' has one value for each item: it describes what was chosen; leave it out", name)


def columns_by_id(table: Frame | None, kind: str, key: str, names: list[str], engine: Engine) -> pd.DataFrame:
    """Some columns of a user or item table, indexed by id as text; DataError where it has no such columns."""
    if table is None:
        wanted = ", ".join(f"{kind}.{name}" for name in names)
        raise DataError(f"data.features names {wanted} but there is no {kind} table: name it under data.source.{kind}s")
    missing = [name for name in (key, *names) if name not in table.columns]
    if missing:
        raise DataError(
            f"column {', '.join(map(repr, missing))} is missing from the {kind} table; "
            f"there are: {', '.join(name for name in table.columns if name != '_row')}"
        )
    chosen = table.select(nw.col(key).alias("_id"), *map(nw.col, names))
    frame = plain_pandas(checked_ids(chosen, "_id", engine).collect("pyarrow").to_native())
    frame = frame.dropna(subset=["_id"]).astype({"_id": str})
    return frame.set_index("_id")


def _write_ids(work: Path, name: str, raw: pd.Series, number: np.ndarray, n: np.ndarray) -> None:
    frame = pd.DataFrame({name: raw.to_numpy(), "number": number, "n": n})
    frame.to_parquet(work / f"{name}s.parquet", index=False)


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        for _, part in blocks(array):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
