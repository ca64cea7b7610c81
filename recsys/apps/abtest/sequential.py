"""Intervals that hold at every look, so that a test may be watched and stopped at any time.

The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Annals of Statistics, 2024: its
interval spans more standard errors than the usual 1.96, so that the chance that the truth is *ever* outside is at most
alpha. Fix two numbers before the first look: alpha, and the number of units at which the interval is narrowest.
"""

import math


def compute_sequence_width(units: int, planned_units: float, alpha: float = 0.05) -> float:
    """Standard errors on either side of the estimate after `units`, fewest at about `planned_units`."""
    scaled = units * _scale(planned_units, alpha)
    return math.sqrt((scaled + 1) / scaled * (math.log(scaled + 1) - 2 * math.log(alpha)))


def compute_sequential_p_value(statistic: float, units: int, planned_units: float, alpha: float = 0.05) -> float:
    """The level at which the interval around an effect of `statistic` standard errors ends at 0; at most 1."""
    scaled = units * _scale(planned_units, alpha)
    return min(1.0, math.sqrt(scaled + 1) * math.exp(-(statistic**2) / 2 * scaled / (scaled + 1)))


def compute_single_look_alpha(units: int, planned_units: float, alpha: float = 0.05) -> float:
    """The level of the usual two-sided normal interval that is as wide."""
    return math.erfc(compute_sequence_width(units, planned_units, alpha) / math.sqrt(2))


def _scale(planned_units: float, alpha: float) -> float:
    """rho² of equation 10, which makes the width at `planned_units` the smallest."""
    return (1 - 2 * math.log(alpha) + math.log(-2 * math.log(alpha))) / planned_units
