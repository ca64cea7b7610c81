"""Finds what a user is in or was learned by: prepared datasets, runs, exported files; removes ids and leaves marks."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import pyarrow.compute as pc
from onnx import ModelProto

from recsys.apps.privacy.purge_files import Wanted, holders
from recsys.run import STALE, atomic, write_text
from recsys.serving.erasure_marks import hash_file, locate_marks, read_marks

WEIGHTS = ("model.pt", "last.ckpt", "validated.pt", "refit/last.ckpt")
WHY = "it learned from somebody who was erased since"
UNKNOWN = "the data it learned from are not here any more, and may have held somebody who was erased since"


def without_datasets(folders: Sequence[Path], wanted: Wanted) -> tuple[list[Path], dict[str, bool]]:
    """Deletes the prepared datasets that hold a user, and what killed preparations left; returns their folders, and
    for each split hash that was found whether a user was among the data.
    """
    deleted: list[Path] = []
    held: dict[str, bool] = {}
    for folder in folders:
        for left in (path.parent for path in folder.rglob(".*/stages") if path.is_dir()):
            shutil.rmtree(left, ignore_errors=True)
            deleted.append(left)
        for path in list(folder.rglob("metadata.json")):
            said = json.loads(path.read_text(encoding="utf-8"))
            if "split_hash" not in said:
                continue
            own = _holds(path.with_name("users.parquet"), wanted)
            held[said["split_hash"]] = held.get(said["split_hash"], False) or own
            if own or _holds(path.with_name("quarantine.parquet"), wanted):
                path.unlink()  # first: what is cut short here is no whole dataset
                shutil.rmtree(path.parent)
                deleted.append(path.parent)
    return deleted, held


def _holds(path: Path, wanted: Wanted) -> bool:
    mask = holders(path, wanted) if path.exists() else None
    return mask is not None and bool(pc.any(mask).as_py())


def mark_run(folder: Path, held: dict[str, bool]) -> list[Path]:
    """Marks a run as stale unless its data are known not to have held a user; its checkpoints, empty where none is."""
    found = [folder / name for name in WEIGHTS if (folder / name).exists()]
    why = _why(_split_hash(folder), held)
    if not found or why is None:
        return []
    said = {"why": why, "since": datetime.now(UTC).isoformat(timespec="seconds")}
    write_text(folder / STALE, json.dumps(said, indent=1) + "\n")
    return found


def _why(split_hash: str | None, held: dict[str, bool]) -> str | None:
    own = held.get(split_hash or "")
    return None if own is False else WHY if own else UNKNOWN


def _split_hash(folder: Path) -> str | None:
    for name in ("data.json", "metrics.json"):
        if (folder / name).exists():
            found: str | None = json.loads((folder / name).read_text(encoding="utf-8")).get("split_hash")
            return found
    return None


def mark_artefact(path: Path, held: dict[str, bool], wanted: Wanted) -> str | None:
    """Takes the users' ids out of an exported file and marks it; returns what it was: held, learned, or None.

    The version that held an id is refused from now on. What remains is without a way from an id to its row of weights.
    """
    proto = onnx.load(path, load_external_data=False)
    said = {entry.key: entry.value for entry in proto.metadata_props}.get("manifest")
    why = said and _why(json.loads(said).get("split_hash"), held)
    if not why:
        return None
    marked: dict[str, Any] = dict(read_marks(path))
    found = "learned"
    if _without_ids(proto, wanted):
        found = "held"
        marked["refused"] = [*marked["refused"], hash_file(path)]
        with atomic(path) as temporary:
            temporary.write_bytes(proto.SerializeToString())
            marked["learned"] = [*marked["learned"], hash_file(temporary)]
            _write_mark(path, marked, why)
    elif hash_file(path) not in marked["learned"]:
        marked["learned"] = [*marked["learned"], hash_file(path)]
        _write_mark(path, marked, why)
    return found


def _write_mark(path: Path, marked: dict[str, Any], why: str) -> None:
    write_text(locate_marks(path), json.dumps({"why": why, **marked}, indent=1) + "\n")


def _without_ids(proto: ModelProto, wanted: Wanted) -> int:
    """Takes the users out of the table from ids to rows; returns how many were in it."""
    removed = 0
    for node in proto.graph.node:
        if node.op_type == "LabelEncoder" and node.input[0] == "user":
            given = {attribute.name: attribute for attribute in node.attribute}
            keys, codes = given["keys_strings"].strings, given["values_int64s"].ints
            pairs = [(key, code) for key, code in zip(keys, codes, strict=True) if key.decode() not in wanted.names]
            removed += len(keys) - len(pairs)
            pairs = pairs or [(b"", 0)]
            del keys[:], codes[:]
            keys.extend(key for key, _ in pairs)
            codes.extend(code for _, code in pairs)
    return removed
