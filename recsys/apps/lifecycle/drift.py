"""Whether two windows differ by more than chance: population stability, tested by shuffling blocks between windows.

A block is one user in one window. B blocks, V values of an input, R resamples, M inputs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Counts = Float[np.ndarray, "B V"]
CHUNK = 64
"""resamples held in memory at a time"""


@dataclass(frozen=True)
class DriftInput:
    """How often each block had each value of one input."""

    name: str
    counts: Counts


@dataclass(frozen=True)
class DriftResult:
    """The drift of one input.

    `psi` is its population stability index, `p_value` the fraction of shuffles in which any input looks as unstable,
    `overlap` the fraction that both windows have in common.
    """

    name: str
    psi: float
    p_value: float
    overlap: float
    alarm: bool


def compare_windows(
    inputs: list[DriftInput],
    current: Bool[np.ndarray, " B"],
    level: float = 0.05,
    smallest: float = 0.1,
    n_resamples: int = 500,
    seed: int = 0,
) -> list[DriftResult]:
    """Returns the drift of each input between the blocks of the `current` window and the others.

    An alarm needs a p-value of at most `level`, which holds for all inputs together, and a stability index of at least
    `smallest`, since large samples detect differences that do not matter. Blocks are shuffled instead of events,
    because the events of one user are alike. Westfall & Young (1993), minimal p-values.
    """
    rng = np.random.default_rng(seed)
    columns = np.concatenate([window_input.counts for window_input in inputs], axis=1).astype(np.float64)
    ends = np.cumsum([window_input.counts.shape[1] for window_input in inputs])[:-1]
    # row 0 is the real assignment of blocks to windows, the others are shuffled
    masks = [current[None], *(_shuffle(current, n, rng) for n in _chunk_sizes(n_resamples))]
    sums = np.concatenate([mask.astype(np.float64) @ columns for mask in masks])
    new, old = np.split(sums, ends, axis=1), np.split(columns.sum(axis=0) - sums, ends, axis=1)
    psi = np.stack([compute_psi(*counts) for counts in zip(old, new, strict=True)], axis=1)
    p_values = adjust_p_values(psi)
    return [
        DriftResult(
            window_input.name,
            float(psi[0, n]),
            float(p_values[n]),
            float(np.minimum(_normalize(old[n][:1], 0.0), _normalize(new[n][:1], 0.0)).sum()),
            bool(p_values[n] <= level and psi[0, n] >= smallest),
        )
        for n, window_input in enumerate(inputs)
    ]


def compute_psi(old: Float[np.ndarray, "R V"], new: Float[np.ndarray, "R V"]) -> Float[np.ndarray, " R"]:
    """Returns the population stability index of each row of counts; half an event is added to every value so that none
    is empty.
    """
    p, q = _normalize(old, 0.5), _normalize(new, 0.5)
    psi: np.ndarray = ((q - p) * np.log(q / p)).sum(axis=1)
    return psi


def adjust_p_values(values: Float[np.ndarray, "R M"]) -> Float[np.ndarray, " M"]:
    """Returns, for each value of row 0, the fraction of rows whose most extreme value is at least as extreme."""
    order = np.sort(values, axis=0)
    ranks = np.stack([np.searchsorted(order[:, m], values[:, m], "left") for m in range(values.shape[1])], axis=1)
    above = len(values) - ranks  # rows at least as large
    p_values: np.ndarray = (above.min(axis=1)[:, None] <= above[0]).mean(axis=0)
    return p_values


def compute_drop_p_value(
    old: Float[np.ndarray, " N"], new: Float[np.ndarray, " M"], n_resamples: int = 500, seed: int = 0
) -> float:
    """Returns the fraction of shuffles in which the mean falls at least as far as from `old` to `new`."""
    rng, both = np.random.default_rng(seed), np.concatenate([old, new])
    drops = [old.mean() - new.mean()]
    for _ in range(n_resamples):
        shuffled = rng.permutation(both)
        drops.append(shuffled[: len(old)].mean() - shuffled[len(old) :].mean())
    return float((np.array(drops) >= drops[0] - 1e-12).mean())


def _shuffle(current: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permuted(np.tile(current, (n, 1)), axis=1)


def _chunk_sizes(n: int) -> list[int]:
    return [min(CHUNK, n - start) for start in range(0, n, CHUNK)]


def _normalize(counts: np.ndarray, pseudocount: float) -> np.ndarray:
    smoothed = counts + pseudocount
    fractions: np.ndarray = smoothed / np.maximum(smoothed.sum(axis=1, keepdims=True), 1e-9)
    return fractions
