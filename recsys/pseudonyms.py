"""What stands for persons, HMAC-SHA256 under a key that only the environment holds, and what counts as their yes."""

import hmac
import os

from recsys.errors import ConfigError

YES = ("true", "t", "yes", "y", "1", "1.0")
"""answers that are consent, in whatever case; all others are none"""
SHORTEST = 16
"""characters of a key: a shorter one could be guessed, and with it every id"""


def secret_key(variable: str) -> bytes:
    """The key in an environment variable; ConfigError where there is none or it is too short to be one."""
    found = os.environ.get(variable, "")
    if len(found) < SHORTEST:
        state = "holds fewer than" if found else "is not set; it has to hold at least"
        raise ConfigError(f"{variable} {state} {SHORTEST} characters; make a key with: openssl rand -hex 32")
    return found.encode()


def pseudonym(key: bytes, user: str) -> str:
    """What stands for a user id in prepared data; the same for one key, and without it nothing leads back."""
    return hmac.digest(key, user.encode(), "sha256").hex()


def erasure_digest(key: bytes, user: str) -> str:
    """What stands for an erased user in the ledger: another hash than the pseudonym, which has to vanish."""
    return hmac.digest(key, b"erased\0" + user.encode(), "sha256").hex()
