"""Pseudonyms of users (HMAC-SHA256 with a key that only the environment holds), and the words that mean consent."""

import hmac
import os

from recsys.errors import ConfigError

YES = ("true", "t", "yes", "y", "1", "1.0")
"""answers that mean consent, in upper or lower case; any other answer means no"""
MIN_KEY_LENGTH = 16
"""in characters; a shorter key could be guessed, and with it every user id"""


def read_secret_key(variable: str) -> bytes:
    """The key in an environment variable; ConfigError if it is not set or too short."""
    key = os.environ.get(variable, "")
    if len(key) < MIN_KEY_LENGTH:
        state = "has fewer than" if key else "is not set; it needs at least"
        raise ConfigError(f"{variable} {state} {MIN_KEY_LENGTH} characters; make a key with: openssl rand -hex 32")
    return key.encode()


def pseudonym(key: bytes, user: str) -> str:
    """The pseudonym of a user id in prepared data: always the same under one key, and not reversible without it."""
    return hmac.digest(key, user.encode(), "sha256").hex()


def erasure_digest(key: bytes, user: str) -> str:
    """The entry of an erased user in the list of erasures; it differs from the pseudonym, which must not remain."""
    return hmac.digest(key, b"erased\0" + user.encode(), "sha256").hex()
