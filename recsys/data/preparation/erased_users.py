"""The list of erased users: keyed hashes in a file beside the prepared datasets; no preparation lets these users in."""

from collections.abc import Iterable
from pathlib import Path

from recsys.errors import DataError
from recsys.pseudonyms import erasure_digest, read_secret_key

ERASED_FILE = "erased.txt"


class ErasedUsers:
    """The digests in `folder`/erased.txt, one per line; the first one is of the empty id and identifies the key.

    Without the file nobody was erased and no key is needed. Raises DataError if the file was written with another key
    than that in the environment variable.
    """

    def __init__(self, folder: Path, variable: str) -> None:
        self.path, self._key = folder / ERASED_FILE, b""
        self.digests: list[str] = []
        if self.path.exists():
            self._key = read_secret_key(variable)
            self.digests = self.path.read_text(encoding="utf-8").split()
            if self.digests[:1] != [erasure_digest(self._key, "")]:
                raise DataError(f"'{self.path}' was written with a key other than that in {variable}; set the old key")
        self._of_users = set(self.digests[1:])

    def __contains__(self, user: str) -> bool:
        return bool(self._of_users) and erasure_digest(self._key, user) in self._of_users


def format_erased_users(key: bytes, user_ids: Iterable[str], erased: ErasedUsers) -> str:
    """The text of erased.txt with `user_ids` added."""
    digests = [erasure_digest(key, ""), *erased.digests, *(erasure_digest(key, user) for user in user_ids)]
    return "".join(f"{digest}\n" for digest in dict.fromkeys(digests))
