"""Confidence intervals of means over users, by the bootstrap over users.

U users, R resamples, V distinct values among the users.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

Array = Float[np.ndarray, "U"]
CELLS = 2**21
"""resampling counts held in memory at once (16 MiB)"""


class PairedDifference(NamedTuple):
    """mean(a) - mean(b), its interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    values: npt.ArrayLike, seed: int = 0, level: float = 0.95, n_resamples: int = 1000
) -> tuple[float, float]:
    """The percentile interval (low, high) of the mean over users of `values` (U,).

    Raises ValueError for values that are empty, not finite or not one per user, a level outside (0, 1), and
    n_resamples < 1. Efron & Tibshirani, 1993, chapter 13.
    """
    means = _resampled_means(_check_values(values, "values"), seed, n_resamples)
    return _percentiles(means, level)


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, seed: int = 0, level: float = 0.95, n_resamples: int = 1000
) -> PairedDifference:
    """mean(a) - mean(b) over the same users, `a` and `b` (U,), with interval and p-value.

    The p-value is the fraction of resampled means at least as far from the difference as the difference is from
    0, on both sides, where the data count as one resample: at least 1 / (R + 1). Raises ValueError as
    `bootstrap_interval` does, and for unequal lengths. Efron & Tibshirani, 1993, chapter 16; Smucker et al., CIKM 2007.
    """
    first, second = _check_values(a, "a"), _check_values(b, "b")
    if len(first) != len(second):
        raise ValueError(f"a has {len(first)} users and b {len(second)}; expected the same users")
    differences = first - second
    means = _resampled_means(differences, seed, n_resamples)
    difference = differences.mean()
    extreme = np.count_nonzero(np.abs(means - difference) >= abs(difference))
    return PairedDifference(float(difference), *_percentiles(means, level), (extreme + 1) / (n_resamples + 1))


def independent_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, seed: int = 0, level: float = 0.95, n_resamples: int = 1000
) -> tuple[float, float, float]:
    """mean(a) - mean(b) of two groups without common users, `a` (U,) and `b` (V,), and its percentile interval.

    Raises ValueError as `bootstrap_interval` does. Efron & Tibshirani, 1993, chapter 8.
    """
    groups = _check_values(a, "a"), _check_values(b, "b")
    first, second = (_resampled_means(group, seed + n, n_resamples) for n, group in enumerate(groups))
    return float(groups[0].mean() - groups[1].mean()), *_percentiles(first - second, level)


def _resampled_means(values: Array, seed: int, n_resamples: int) -> Float[np.ndarray, "R"]:
    """The means of R resamples of U users; only the number of times that each value occurs is drawn."""
    if n_resamples < 1:
        raise ValueError(f"n_resamples={n_resamples} is invalid: expected a whole number ≥ 1")
    distinct, counts = _distinct(values)
    rng = np.random.default_rng(seed)
    step = max(1, CELLS // len(distinct))
    sizes = [min(step, n_resamples - start) for start in range(0, n_resamples, step)]
    probabilities = counts / len(values)
    return np.concatenate([rng.multinomial(len(values), probabilities, size) @ distinct for size in sizes]) / len(
        values
    )


def _distinct(values: Array) -> tuple[Float[np.ndarray, "V"], Int[np.ndarray, "V"]]:
    """The distinct values and their counts in order of first appearance, which a change of sign does not affect."""
    distinct, first, counts = np.unique(values, return_index=True, return_counts=True)
    order = np.argsort(first)
    return distinct[order], counts[order]


def _percentiles(means: Float[np.ndarray, "R"], level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level={level} is invalid: expected a number between 0 and 1, such as 0.95")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_values(values: npt.ArrayLike, name: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {array.shape}; expected one value per user, and at least one")
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array))
        raise ValueError(f"{name}[{bad[0]}] is {array[bad[0]]} ({len(bad)} such values); drop these users")
    return array
