"""SQL for times written as numbers: since 1970 in some unit, or dates such as 20240131."""

from collections.abc import Sequence

UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""microseconds in each unit of time"""
SMALLEST = {"s": 0.0, "ms": 1e11, "us": 1e14, "ns": 1e17}
"""the number from which on a unit is taken for the unit of a column: 1973 in every unit but seconds"""


def units_reached(number: str) -> list[str]:
    """For each unit an aggregate: how many numbers are large enough for times of our days in it. That takes no memory,
    where their median would take all numbers.
    """
    return [f"count(CASE WHEN abs({number}) >= {smallest} THEN 1 END)" for smallest in SMALLEST.values()]


def unit_of(reached: Sequence[int], n: int) -> str:
    """The unit in which the median of `n` numbers is a time of our days: the largest that half of them reach; seconds
    where there are none.
    """
    units = (unit for unit, count in zip(SMALLEST, reached, strict=True) if 0 < n <= 2 * count)
    return max(units, key=SMALLEST.__getitem__, default="s")


def moment(number: str, unit: str, strict: bool) -> str:
    """Microseconds of a number; if `strict`, null where it is so small that it must be in another unit."""
    smallest = SMALLEST[unit] if strict else 0.0
    told = f"{number} < 0 OR {number} >= {smallest}"
    return f"CASE WHEN {told} THEN try_cast(round({number} * {UNITS[unit]}) AS BIGINT) END"


def date(number: str) -> str:
    """The date that a number such as 20240131 writes, null for other numbers."""
    digits = f"CAST(CAST({number} AS BIGINT) AS VARCHAR)"
    return f"CASE WHEN {number} BETWEEN 19000101 AND 21001231 THEN try_strptime({digits}, '%Y%m%d') END"
