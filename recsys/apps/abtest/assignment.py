"""The variant of a unit, from a salted hash alone, so that a server, a file and an analysis always agree.

Standard library only.
"""

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

from recsys.errors import ConfigError


def assign_variant(name: str, unit: str, shares: Mapping[str, float], traffic: float = 1.0) -> str | None:
    """The variant of `unit` in the test `name`; None if the unit does not take part.

    `shares` of the variants add up to 1. Raising `traffic` (0 to 1) lets more units in and moves none.
    """
    if hash_to_fraction(f"{name}/traffic", unit) >= traffic:
        return None
    position = hash_to_fraction(name, unit)
    ends = accumulate(shares.values())
    return next((variant for variant, end in zip(shares, ends, strict=True) if position < end), list(shares)[-1])


def hash_to_fraction(salt: str, unit: str) -> float:
    """A number in [0, 1) that depends only on `salt` and `unit`; other pairs give unrelated numbers."""
    digest = hashlib.blake2b(f"{salt}:{unit}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def log_unit_id(unit: str, key: str | None) -> str:
    """A unit's id in the exposure log: 32 hex digits of HMAC-SHA256 under `key`, or the unit itself without a key."""
    if key is None:
        return unit
    return hmac.new(key.encode(), unit.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:32]


def resolve_shares(
    variants: Sequence[str], shares: Sequence[float] | None = None, traffic: float = 1.0
) -> dict[str, float]:
    """The share of each variant, equal shares by default. Raises ConfigError for an invalid plan."""
    values = [1 / max(len(variants), 1)] * len(variants) if shares is None else list(shares)
    if len(variants) < 2 or len(set(variants)) < len(variants):
        raise ConfigError(f"variants={list(variants)} is invalid: expected at least two different names, control first")
    if len(values) != len(variants) or min(values) <= 0 or not math.isclose(sum(values), 1, abs_tol=1e-6):
        raise ConfigError(
            f"shares={values} is invalid: expected one positive share for each of variants={list(variants)}, which add "
            "up to 1"
        )
    if not 0 < traffic <= 1:
        raise ConfigError(f"traffic={traffic} is invalid: expected a fraction above 0 and at most 1")
    return dict(zip(variants, values, strict=True))
