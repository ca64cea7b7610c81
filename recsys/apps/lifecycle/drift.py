"""Whether two windows differ by more than chance: population stability, judged by shuffling who belongs to which.

B blocks (a user in a window), V values of an input, R resamples, M inputs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Counts = Float[np.ndarray, "B V"]
CHUNK = 64
"""resamples whose draws are held at once"""


@dataclass(frozen=True)
class Input:
    """How often each block had each value of something."""

    name: str
    counts: Counts


@dataclass(frozen=True)
class Found:
    """The stability of one input, the share of shuffles in which any input looks as unstable, the share that both
    windows have in common, and whether it is an alarm.
    """

    name: str
    psi: float
    p_value: float
    overlap: float
    alarm: bool


def drift(
    inputs: list[Input],
    current: Bool[np.ndarray, " B"],
    level: float = 0.05,
    smallest: float = 0.1,
    n_resamples: int = 500,
    seed: int = 0,
) -> list[Found]:
    """Each input of the blocks in the `current` window beside those of the other. An alarm takes a p-value up to
    `level`, which holds for all inputs together, and a stability index of `smallest`: much data notice what does not
    matter.

    Blocks, not events, are shuffled, since the events of a user are alike. Westfall & Young (1993), minimal p-values.
    """
    rng = np.random.default_rng(seed)
    columns = np.concatenate([each.counts for each in inputs], axis=1).astype(np.float64)
    ends = np.cumsum([each.counts.shape[1] for each in inputs])[:-1]
    draws = [current[None], *(_shuffled(current, n, rng) for n in _sizes(n_resamples))]
    sums = np.concatenate([draw.astype(np.float64) @ columns for draw in draws])
    new, old = np.split(sums, ends, axis=1), np.split(columns.sum(axis=0) - sums, ends, axis=1)
    values = np.stack([psi(*each) for each in zip(old, new, strict=True)], axis=1)
    p_values = adjusted(values)
    return [
        Found(
            each.name,
            float(values[0, n]),
            float(p_values[n]),
            float(np.minimum(_shares(old[n][:1], 0.0), _shares(new[n][:1], 0.0)).sum()),
            bool(p_values[n] <= level and values[0, n] >= smallest),
        )
        for n, each in enumerate(inputs)
    ]


def psi(old: Float[np.ndarray, "R V"], new: Float[np.ndarray, "R V"]) -> Float[np.ndarray, " R"]:
    """The population stability index of counts, half an event added to each value so that none is empty."""
    p, q = _shares(old, 0.5), _shares(new, 0.5)
    found: np.ndarray = ((q - p) * np.log(q / p)).sum(axis=1)
    return found


def adjusted(values: Float[np.ndarray, "R M"]) -> Float[np.ndarray, " M"]:
    """For row 0 the share of rows whose most extreme value is as extreme as each of its own."""
    order = np.sort(values, axis=0)
    ranks = np.stack([np.searchsorted(order[:, m], values[:, m], "left") for m in range(values.shape[1])], axis=1)
    above = len(values) - ranks  # rows at least as large
    found: np.ndarray = (above.min(axis=1)[:, None] <= above[0]).mean(axis=0)
    return found


def dropped(old: Float[np.ndarray, " N"], new: Float[np.ndarray, " M"], n_resamples: int = 500, seed: int = 0) -> float:
    """The share of shuffles in which the mean falls as far as from `old` to `new`."""
    rng, both = np.random.default_rng(seed), np.concatenate([old, new])
    drops = [old.mean() - new.mean()]
    for _ in range(n_resamples):
        shuffled = rng.permutation(both)
        drops.append(shuffled[: len(old)].mean() - shuffled[len(old) :].mean())
    return float((np.array(drops) >= drops[0] - 1e-12).mean())


def _shuffled(current: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.permuted(np.tile(current, (n, 1)), axis=1)


def _sizes(n: int) -> list[int]:
    return [min(CHUNK, n - start) for start in range(0, n, CHUNK)]


def _shares(counts: np.ndarray, added: float) -> np.ndarray:
    found: np.ndarray = (counts + added) / np.maximum((counts + added).sum(axis=1, keepdims=True), 1e-9)
    return found
