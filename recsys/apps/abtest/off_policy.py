"""Estimates of what another policy would have earned, from the log of a policy that drew items by known probabilities.

N rows of a log, each an item shown at a position: the probability of the policy that drew it (`logged`), the
probability that the other policy would show it there (`target`), and what it earned (`reward`). Without logged
probabilities nothing here can be computed, and no other method would be honest.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float

Array = Float[np.ndarray, "N"]


class PolicyEstimate(NamedTuple):
    """The mean reward per row under the other policy, its interval, and the effective sample size."""

    value: float
    low: float
    high: float
    effective_rows: float
    """rows that the other policy's own log would need for an estimate as precise"""


def estimate_snips(
    reward: npt.ArrayLike,
    logged: npt.ArrayLike,
    target: npt.ArrayLike,
    unit: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> PolicyEstimate:
    """Rewards weighted by target / logged, divided by the sum of weights; interval by the delta method.

    Rows of one `unit` count as one observation. Raises ValueError for invalid probabilities. Swaminathan and
    Joachims, NeurIPS 2015.
    """
    rewards, weights = _weigh_rewards(reward, logged, target)
    value = float(weights @ rewards / weights.sum())
    errors = weights * (rewards - value) / weights.mean()
    return _build_estimate(value, errors, weights, unit, level)


def estimate_doubly_robust(
    reward: npt.ArrayLike,
    logged: npt.ArrayLike,
    target: npt.ArrayLike,
    predicted: npt.ArrayLike,
    expected: npt.ArrayLike,
    unit: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> PolicyEstimate:
    """A reward model's `expected` reward under the other policy, plus the weighted error of its prediction for the
    item shown (`predicted`): right if either the probabilities or the model are. Fit the model on other rows.

    Raises ValueError as `estimate_snips` does. Dudík, Langford and Li, ICML 2011; weights normalized as in SNIPS.
    """
    rewards, weights = _weigh_rewards(reward, logged, target)
    model, predictions = np.asarray(expected, float), np.asarray(predicted, float)
    correction = float(weights @ (rewards - predictions) / weights.sum())
    value = float(model.mean() + correction)
    errors = model - model.mean() + weights * (rewards - predictions - correction) / weights.mean()
    return _build_estimate(value, errors, weights, unit, level)


def _weigh_rewards(reward: npt.ArrayLike, logged: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Array, Array]:
    """Rewards and importance weights as arrays."""
    rewards, logged_p, target_p = (np.asarray(column, float) for column in (reward, logged, target))
    if not len(rewards) == len(logged_p) == len(target_p) > 1:
        raise ValueError(
            f"there are {len(rewards)} rewards, {len(logged_p)} logged and {len(target_p)} target probabilities; "
            "give equally many, at least 2"
        )
    invalid = np.flatnonzero(~((logged_p > 0) & (logged_p <= 1) & (target_p >= 0) & (target_p <= 1)))
    if len(invalid):
        row = invalid[0]
        raise ValueError(
            f"row {row} has logged={logged_p[row]:g}, target={target_p[row]:g} ({len(invalid)} such rows): "
            "expected probabilities from 0 to 1, logged ones above 0; log them where the list is drawn"
        )
    if not target_p.any():
        raise ValueError(
            "target is 0 in all rows: the other policy would show none of them, so this log cannot evaluate it"
        )
    return rewards, target_p / logged_p


def _build_estimate(
    value: float, errors: Array, weights: Array, unit: npt.ArrayLike | None, level: float
) -> PolicyEstimate:
    """The estimate with its interval, from each row's contribution to the error of the mean."""
    if unit is None:
        variance = errors.var(ddof=1) / len(errors)
    else:
        _, numbers = np.unique(np.asarray(unit), return_inverse=True)
        sums = np.bincount(numbers, errors)
        variance = sums.var(ddof=1) * len(sums) / len(errors) ** 2
    half_width = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    effective_rows = float(weights.sum() ** 2 / (weights**2).sum())
    return PolicyEstimate(value, value - half_width, value + half_width, effective_rows)
