"""Marks beside files that learned from somebody who was erased since: `model.onnx.stale`.

A marked file is served, but for the versions that held the erased user's id: they are refused, also when they are put
back from a copy.
"""

import hashlib
import json
from pathlib import Path
from typing import Any


def mark_path(path: Path) -> Path:
    """Where a file's mark is."""
    return path.with_name(f"{path.name}.stale")


def mark(path: Path) -> dict[str, Any] | None:
    """What is said of a file: `since`, `why`, and under `refused` the SHA-256 of versions that held an erased id; None
    for a file that is not marked.
    """
    try:
        said: dict[str, Any] = json.loads(mark_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return said


def is_refused(path: Path) -> bool:
    """Whether the file is a version that held an erased user's id."""
    said = mark(path)
    return bool(said and said["refused"]) and digest(path) in said["refused"]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
