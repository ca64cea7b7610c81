"""Marks beside files that learned from somebody who was erased since: `model.onnx.stale`.

A version is known by its SHA-256. Those that held the erased user's id are refused, also when they are put back from
a copy; those that only learned are served until there is a newer one.
"""

import hashlib
import json
from pathlib import Path

KINDS = ("refused", "learned")


def mark_path(path: Path) -> Path:
    """Where a file's mark is."""
    return path.with_name(f"{path.name}.stale")


def marks(path: Path) -> dict[str, list[str]]:
    """The marked versions of a file, by what they are: `refused` or `learned`."""
    try:
        text = mark_path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {kind: [] for kind in KINDS}
    return {kind: list(json.loads(text).get(kind, ())) for kind in KINDS}


def verdict(path: Path) -> str | None:
    """What the file at the path is marked as; None for a version that is not."""
    marked = marks(path)
    if not any(marked.values()):
        return None
    own = digest(path)
    return next((kind for kind in KINDS if own in marked[kind]), None)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
