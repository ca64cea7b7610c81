"""SQL for times written as numbers: since 1970 in some unit, or dates such as 20240131."""

from collections.abc import Sequence

UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""microseconds in each unit of time"""
SMALLEST = {"s": 0.0, "ms": 1e11, "us": 1e14, "ns": 1e17}
"""the smallest number that is taken to be in a unit: a time in 1973, in every unit but seconds"""


def build_unit_counts(number: str) -> list[str]:
    """For each unit an SQL aggregate: how many numbers are large enough to be times in that unit.

    Unlike their median it takes no memory.
    """
    return [f"count(CASE WHEN abs({number}) >= {smallest} THEN 1 END)" for smallest in SMALLEST.values()]


def choose_time_unit(reached: Sequence[int], n: int) -> str:
    """The largest unit that the median of `n` numbers is large enough for; seconds if there are no numbers."""
    units = (unit for unit, count in zip(SMALLEST, reached, strict=True) if 0 < n <= 2 * count)
    return max(units, key=SMALLEST.__getitem__, default="s")


def build_microseconds_sql(number: str, unit: str, strict: bool) -> str:
    """SQL for the microseconds of a number; if `strict`, null for a number so small that it is in another unit."""
    smallest = SMALLEST[unit] if strict else 0.0
    plausible = f"{number} < 0 OR {number} >= {smallest}"
    return f"CASE WHEN {plausible} THEN try_cast(round({number} * {UNITS[unit]}) AS BIGINT) END"


def build_date_sql(number: str) -> str:
    """SQL for the date that a number such as 20240131 means, null for other numbers."""
    digits = f"CAST(CAST({number} AS BIGINT) AS VARCHAR)"
    return f"CASE WHEN {number} BETWEEN 19000101 AND 21001231 THEN try_strptime({digits}, '%Y%m%d') END"
