"""Intervals that hold at every look, so that a test may be watched and stopped at any time.

The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of Statistics, 2024: an
interval of so many standard errors, more than the usual 1.96, with which the chance that the truth is *ever* outside
is at most alpha. The numbers have to be fixed before the first look: alpha, and the number of units at which the
interval is narrowest.
"""

import math


def width(units: int, planned: float, alpha: float = 0.05) -> float:
    """Standard errors on either side after `units`, narrowest at about `planned`."""
    seen = units * _scale(planned, alpha)
    return math.sqrt((seen + 1) / seen * (math.log(seen + 1) - 2 * math.log(alpha)))


def p_value(statistic: float, units: int, planned: float, alpha: float = 0.05) -> float:
    """The level at which the interval around an effect of `statistic` standard errors ends at 0; at most 1."""
    seen = units * _scale(planned, alpha)
    return min(1.0, math.sqrt(seen + 1) * math.exp(-(statistic**2) / 2 * seen / (seen + 1)))


def single_look_level(units: int, planned: float, alpha: float = 0.05) -> float:
    """The level of a usual two-sided normal interval that is as wide."""
    return math.erfc(width(units, planned, alpha) / math.sqrt(2))


def _scale(planned: float, alpha: float) -> float:
    """rho² of equation 10, which makes the width at `planned` the smallest."""
    return (1 - 2 * math.log(alpha) + math.log(-2 * math.log(alpha))) / planned
