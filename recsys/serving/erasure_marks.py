"""Marks of model files that learned from a user who was erased later, kept in `model.onnx.stale`.

A version of a file is identified by its SHA-256. Versions that hold the erased user's id are `refused`, even if they
are restored from a copy. Versions that only `learned` from the user are served until there is a newer one.
"""

import hashlib
import json
from pathlib import Path

MARKS = ("refused", "learned")


def locate_marks(path: Path) -> Path:
    """Return the path of a model file's marks."""
    return path.with_name(f"{path.name}.stale")


def read_marks(path: Path) -> dict[str, list[str]]:
    """Return the digests of a model file's marked versions, by mark: `refused` or `learned`."""
    try:
        text = locate_marks(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {mark: [] for mark in MARKS}
    return {mark: list(json.loads(text).get(mark, ())) for mark in MARKS}


def find_mark(path: Path) -> str | None:
    """Return the mark of the version at the path; None if it has none."""
    marks = read_marks(path)
    if not any(marks.values()):
        return None
    digest = digest_file(path)
    return next((mark for mark in MARKS if digest in marks[mark]), None)


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
