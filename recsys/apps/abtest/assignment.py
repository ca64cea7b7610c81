"""Which variant a unit gets: a salted hash and nothing else, so that a server, a file and an analysis agree.

Standard library only.
"""

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate


def assign(name: str, unit: str, shares: Mapping[str, float], traffic: float = 1.0) -> str | None:
    """The variant of `unit` in the test `name`; None where the unit takes no part.

    `shares` of the variants add up to 1. A larger `traffic` (0 to 1) lets more units in and moves none that was in.
    """
    if draw(f"{name}/traffic", unit) >= traffic:
        return None
    place = draw(name, unit)
    return next(
        (v for v, end in zip(shares, accumulate(shares.values()), strict=True) if place < end), list(shares)[-1]
    )


def draw(salt: str, unit: str) -> float:
    """A number in [0, 1), always the same for a salt and a unit, unrelated for any other of either."""
    digest = hashlib.blake2b(f"{salt}:{unit}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def pseudonym(unit: str, key: str | None) -> str:
    """What stands for the unit in a log: the unit itself without a key, else 32 hex digits that only the key links."""
    if key is None:
        return unit
    return hmac.new(key.encode(), unit.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:32]


def planned(variants: Sequence[str], shares: Sequence[float] | None = None, traffic: float = 1.0) -> dict[str, float]:
    """The share of each variant, equal ones where none are given; ConfigError for what is no plan."""
    given = [1 / max(len(variants), 1)] * len(variants) if shares is None else list(shares)
    wrong = None
    if len(variants) < 2 or len(set(variants)) < len(variants):
        wrong = f"variants={list(variants)} are no two different ones; control comes first"
    elif len(given) != len(variants) or min(given) <= 0 or not math.isclose(sum(given), 1, abs_tol=1e-6):
        wrong = f"shares={given} are not one for each of variants={list(variants)}, positive, that add up to 1"
    elif not 0 < traffic <= 1:
        wrong = f"traffic={traffic} is no share of the units; give one above 0, at most 1"
    if wrong:
        from recsys.errors import ConfigError

        raise ConfigError(wrong)
    return dict(zip(variants, given, strict=True))
