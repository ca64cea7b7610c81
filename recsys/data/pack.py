"""Writes a split log as the flat arrays of a prepared dataset."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from recsys.data.engine import Frame
from recsys.data.features import DERIVED, Encoder, Features, aligned, derive, fit_encoder
from recsys.data.log import Log, seconds
from recsys.data.schema import Columns
from recsys.data.sources import Tables
from recsys.data.splits import Parts


class SideTables(NamedTuple):
    """Item and user tables in memory, the names of their id columns, and which columns become features."""

    items: pd.DataFrame | None
    users: pd.DataFrame | None
    item_key: str
    user_key: str
    features: Features


def encode_tables(tables: Tables, columns: Columns, features: Features) -> SideTables:
    """The side tables, read only as far as features need them."""
    items = _frame(tables.items, (columns.item, *features.item)) if features.item else None
    users = _frame(tables.users, (columns.user, *features.user)) if features.user else None
    return SideTables(items, users, columns.item, columns.user, features)


def pack(work: Path, parts: Parts, ids: dict[str, pd.Series], side: SideTables, zone: str) -> dict[str, Any]:
    """Write every array into `work`; returns what metadata.json says of them.

    Items are numbered from 1 by training count, then raw id; those first seen after training come last.
    """
    log = parts.log
    used, users = np.unique(log.users, return_inverse=True)
    bounds = parts.bounds[used]
    training = np.arange(len(log)) < bounds[users, 0]
    order, n_items = _number_items(log.items, training)
    number = np.zeros(order.max(initial=0) + 1, dtype=np.int32)
    number[order] = np.arange(1, len(order) + 1)
    items = number[log.items]
    arrays: dict[str, np.ndarray] = {
        "items": items,
        "baskets": log.baskets,
        "offsets": np.concatenate([[0], np.cumsum(np.bincount(users))]).astype(np.int64),
        "split": bounds.astype(np.int64),
        "item_counts": np.bincount(items[training], minlength=len(order) + 1).astype(np.int64),
    }
    if log.timestamps is not None:
        arrays["timestamps"] = seconds(log.timestamps).astype(np.int64)
    if log.weights is not None:
        arrays["weights"] = log.weights
    raw_users, raw_items = ids["user"].iloc[used], ids["item"].iloc[order]
    encoders = _add_features(arrays, log, training, raw_users, raw_items, side, zone)
    for name, array in arrays.items():
        np.save(work / f"{name}.npy", array)
    _write_ids(work, "user", raw_users, np.arange(1, len(used) + 1), np.bincount(users))
    _write_ids(work, "item", raw_items, np.arange(1, len(order) + 1), arrays["item_counts"][1:])
    return {
        "n_users": len(used),
        "n_items": n_items,
        "n_later_items": len(order) - n_items,
        "features": {kind: {k: asdict(e) for k, e in found.items()} for kind, found in encoders.items()},
        "arrays": {name: _digest(array) for name, array in arrays.items()},
        "split_hash": _digest(*(arrays[name] for name in ("items", "offsets", "split"))),
    }


def _number_items(items: np.ndarray, training: np.ndarray) -> tuple[np.ndarray, int]:
    """Item codes in the order of their new numbers, and how many of them occur in training."""
    counts = np.bincount(items[training], minlength=items.max(initial=0) + 1)
    used = np.unique(items)
    order = used[np.lexsort((used, -counts[used]))]
    return order, int((counts[used] > 0).sum())


def _add_features(
    arrays: dict[str, np.ndarray],
    log: Log,
    training: np.ndarray,
    raw_users: pd.Series,
    raw_items: pd.Series,
    side: SideTables,
    zone: str,
) -> dict[str, dict[str, Encoder]]:
    features = side.features
    encoders: dict[str, dict[str, Encoder]] = {"user": {}, "item": {}, "context": {}}
    for kind, table, key, raw, names in (
        ("user", side.users, side.user_key, raw_users, features.user),
        ("item", side.items, side.item_key, raw_items, features.item),
    ):
        for name, column in aligned(table, key, raw.tolist(), names, kind).items():
            encoder = encoders[kind][str(name)] = fit_encoder(column, features.separator)
            codes = encoder.encode(column, features.separator)
            arrays[f"{kind}_{name}"] = np.concatenate([np.zeros_like(codes[:1]), codes])
    for name in features.context:
        if name in DERIVED:
            encoders["context"][name] = Encoder("category", tuple(map(str, range(DERIVED[name]))))
            assert log.timestamps is not None
            arrays[f"context_{name}"] = derive(name, seconds(log.timestamps), zone)[:, None]
        else:
            column = pd.Series(log.extra[name])
            encoder = encoders["context"][name] = fit_encoder(column[training], features.separator)
            arrays[f"context_{name}"] = encoder.encode(column, features.separator)
    return encoders


def _frame(table: Frame | None, names: tuple[str, ...]) -> pd.DataFrame | None:
    if table is None:
        return None
    present = [name for name in dict.fromkeys(names) if name in table.columns]
    frame: pd.DataFrame = table.select(present).collect("pandas").to_native()
    return frame


def _write_ids(work: Path, name: str, raw: pd.Series, number: np.ndarray, n: np.ndarray) -> None:
    frame = pd.DataFrame({name: raw.to_numpy(), "number": number, "n": n})
    frame.to_parquet(work / f"{name}s.parquet", index=False)


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
