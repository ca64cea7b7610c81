"""What another policy would have earned, estimated from logs of one that drew by known chances.

N rows of a log, each an item shown at a place: the chance of the policy that drew it (`logged`), the chance that
the other policy would show it there (`target`), and what came of it (`reward`). Without such chances nothing here can
be computed, and no other method would be honest.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

Array = Float[np.ndarray, "N"]


class Estimate(NamedTuple):
    """The mean reward a row, its interval, and how many rows of the other policy's own the log is worth."""

    value: float
    low: float
    high: float
    effective: float


def snips(
    reward: npt.ArrayLike,
    logged: npt.ArrayLike,
    target: npt.ArrayLike,
    unit: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Rewards weighted by target / logged, divided by the sum of weights; interval by the delta method.

    Rows of one `unit` are taken as one observation. Raises ValueError for chances that are none. Swaminathan and
    Joachims, NeurIPS 2015.
    """
    rewards, weights = _weighted(reward, logged, target)
    value = float(weights @ rewards / weights.sum())
    errors = weights * (rewards - value) / weights.mean()
    return _estimate(value, errors, weights, unit, level)


def doubly_robust(
    reward: npt.ArrayLike,
    logged: npt.ArrayLike,
    target: npt.ArrayLike,
    predicted: npt.ArrayLike,
    expected: npt.ArrayLike,
    unit: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """A reward model's `expected` reward under the other policy, plus the weighted error of its prediction for what
    was shown (`predicted`): right if either the chances or the model are. The model is fitted on other rows.

    Raises ValueError as `snips` does. Dudík, Langford and Li, ICML 2011; weights normalised as in `snips`.
    """
    rewards, weights = _weighted(reward, logged, target)
    model, shown = np.asarray(expected, float), np.asarray(predicted, float)
    correction = float(weights @ (rewards - shown) / weights.sum())
    value = float(model.mean() + correction)
    errors = model - model.mean() + weights * (rewards - shown - correction) / weights.mean()
    return _estimate(value, errors, weights, unit, level)


def _weighted(reward: npt.ArrayLike, logged: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Array, Array]:
    rewards, chances, wanted = (np.asarray(column, float) for column in (reward, logged, target))
    if not len(rewards) == len(chances) == len(wanted) > 1:
        raise ValueError(
            f"{len(rewards)} rewards, {len(chances)} logged and {len(wanted)} target chances; give as many"
        )
    bad = np.flatnonzero(~((chances > 0) & (chances <= 1) & (wanted >= 0) & (wanted <= 1)))
    if len(bad):
        row = bad[0]
        raise ValueError(
            f"row {row} has logged={chances[row]:g}, target={wanted[row]:g} ({len(bad)} such rows): what was shown has "
            "a chance above 0, and no chance is above 1; log them where the list is drawn"
        )
    if not wanted.any():
        raise ValueError("the other policy would show none of the logged rows; this log cannot tell")
    return rewards, wanted / chances


def _estimate(value: float, errors: Array, weights: Array, unit: npt.ArrayLike | None, level: float) -> Estimate:
    """The interval from each row's share in the error of the mean."""
    if unit is None:
        variance = errors.var(ddof=1) / len(errors)
    else:
        _, number = np.unique(np.asarray(unit), return_inverse=True)
        sums = np.bincount(number, errors)
        variance = sums.var(ddof=1) * len(sums) / len(errors) ** 2
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, float(weights.sum() ** 2 / (weights**2).sum()))
