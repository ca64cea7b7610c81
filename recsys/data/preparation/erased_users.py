"""Who was erased: a file of keyed hashes beside the prepared datasets, whose users no preparation lets in again."""

from collections.abc import Iterable
from pathlib import Path

from recsys.errors import DataError
from recsys.pseudonyms import erasure_digest, secret_key

FILE = "erased.txt"


class Ledger:
    """The hashes in `folder`/erased.txt, one a line; the first is that of no user and tells one key from another.

    Without the file nobody was erased and no key is needed. Raises DataError for a file of another key.
    """

    def __init__(self, folder: Path, variable: str) -> None:
        self.path, self._key = folder / FILE, b""
        self.marks: list[str] = []
        if self.path.exists():
            self._key = secret_key(variable)
            self.marks = self.path.read_text(encoding="utf-8").split()
            if self.marks[:1] != [erasure_digest(self._key, "")]:
                raise DataError(f"'{self.path}' was written with another key than that in {variable}; set the old one")
        self._known = set(self.marks[1:])

    def __contains__(self, user: str) -> bool:
        return bool(self._known) and erasure_digest(self._key, user) in self._known


def entries(key: bytes, users: Iterable[str], before: Ledger) -> str:
    """The text of a ledger that holds `users` too."""
    marks = dict.fromkeys([erasure_digest(key, ""), *before.marks, *(erasure_digest(key, user) for user in users)])
    return "".join(f"{mark}\n" for mark in marks)
