"""Finds prepared datasets, runs and exported files that a user was in; deletes datasets, marks runs and files."""

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import pyarrow.compute as pc
from onnx import ModelProto

from recsys.apps.privacy.purge_files import ErasedIds, mask_rows_with_ids
from recsys.run import STALE, atomic, write_text
from recsys.serving.erasure_marks import digest_file, locate_marks, read_marks

WEIGHTS = ("model.pt", "last.ckpt", "validated.pt", "refit/last.ckpt")
WHY = "it learned from a user who was erased since"
UNKNOWN = "the data it learned from no longer exist and may have contained a user who was erased since"


def delete_datasets(folders: Sequence[Path], erased: ErasedIds) -> tuple[list[Path], dict[str, bool]]:
    """Deletes prepared datasets that contain a user, and the leftovers of killed preparations.

    Returns the deleted folders and, for the split hash of every dataset, whether a user was in it.
    """
    deleted: list[Path] = []
    contains_user: dict[str, bool] = {}
    for folder in folders:
        for leftover in (path.parent for path in folder.rglob(".*/stages") if path.is_dir()):
            shutil.rmtree(leftover, ignore_errors=True)
            deleted.append(leftover)
        for path, split_hash in _find_datasets(folder):
            has_user = _contains_ids(path.with_name("users.parquet"), erased)
            contains_user[split_hash] = contains_user.get(split_hash, False) or has_user
            if has_user or _contains_ids(path.with_name("quarantine.parquet"), erased):
                path.unlink()  # first: without it, an interrupted deletion leaves no valid dataset
                shutil.rmtree(path.parent)
                deleted.append(path.parent)
    return deleted, contains_user


def _find_datasets(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yields the metadata.json and the split hash of each prepared dataset."""
    for path in list(folder.rglob("metadata.json")):
        metadata = json.loads(path.read_text(encoding="utf-8"))
        if "split_hash" in metadata:
            yield path, metadata["split_hash"]


def _contains_ids(path: Path, erased: ErasedIds) -> bool:
    mask = mask_rows_with_ids(path, erased) if path.exists() else None
    return mask is not None and bool(pc.any(mask).as_py())


def mark_run(folder: Path, contains_user: dict[str, bool]) -> list[Path]:
    """Marks a run as stale unless its data are known not to contain a user; returns its checkpoints if it is marked."""
    checkpoints = [folder / name for name in WEIGHTS if (folder / name).exists()]
    why = _find_reason(_read_split_hash(folder), contains_user)
    if not checkpoints or why is None:
        return []
    mark = {"why": why, "since": datetime.now(UTC).isoformat(timespec="seconds")}
    write_text(folder / STALE, json.dumps(mark, indent=1) + "\n")
    return checkpoints


def _find_reason(split_hash: str | None, contains_user: dict[str, bool]) -> str | None:
    has_user = contains_user.get(split_hash or "")
    return None if has_user is False else WHY if has_user else UNKNOWN


def _read_split_hash(folder: Path) -> str | None:
    for name in ("data.json", "metrics.json"):
        if (folder / name).exists():
            split_hash: str | None = json.loads((folder / name).read_text(encoding="utf-8")).get("split_hash")
            return split_hash
    return None


def mark_model_file(path: Path, contains_user: dict[str, bool], erased: ErasedIds) -> str | None:
    """Takes the users' ids out of an exported file and marks it; returns "held" if it had ids, "learned" if it only
    learned from the users, None if it did neither.

    The version that had an id is refused from now on. The new one has no way from an id to its row of weights.
    """
    proto = onnx.load(path, load_external_data=False)
    manifest = {entry.key: entry.value for entry in proto.metadata_props}.get("manifest")
    why = manifest and _find_reason(json.loads(manifest).get("split_hash"), contains_user)
    if not why:
        return None
    mark: dict[str, Any] = dict(read_marks(path))
    state = "learned"
    if _remove_ids(proto, erased):
        state = "held"
        mark["refused"] = [*mark["refused"], digest_file(path)]
        with atomic(path) as temporary:
            temporary.write_bytes(proto.SerializeToString())
            mark["learned"] = [*mark["learned"], digest_file(temporary)]
            _write_mark(path, mark, why)
    elif digest_file(path) not in mark["learned"]:
        mark["learned"] = [*mark["learned"], digest_file(path)]
        _write_mark(path, mark, why)
    return state


def _write_mark(path: Path, mark: dict[str, Any], why: str) -> None:
    write_text(locate_marks(path), json.dumps({"why": why, **mark}, indent=1) + "\n")


def _remove_ids(proto: ModelProto, erased: ErasedIds) -> int:
    """Takes the users out of the table from ids to rows; returns how many were in it."""
    removed = 0
    for node in proto.graph.node:
        if node.op_type == "LabelEncoder" and node.input[0] == "user":
            attributes = {attribute.name: attribute for attribute in node.attribute}
            keys, codes = attributes["keys_strings"].strings, attributes["values_int64s"].ints
            pairs = [(key, code) for key, code in zip(keys, codes, strict=True) if key.decode() not in erased.ids]
            removed += len(keys) - len(pairs)
            pairs = pairs or [(b"", 0)]
            del keys[:], codes[:]
            keys.extend(key for key, _ in pairs)
            codes.extend(code for _, code in pairs)
    return removed
