"""Groups of customers: how they are found, how many there are, and how they keep their numbers.

C customers, D features, K segments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import linear_sum_assignment

from recsys.errors import ConfigError
from recsys.extras import require_extra

Array = np.ndarray
LARGEST = 8
"""segments at most: more than a page can name"""
RESAMPLES = 10
SAMPLE = 50_000
"""customers of one bootstrap sample at most"""
FAR = 1.5
"""deviations of the features between two centres that are no longer the same segment"""


@dataclass(frozen=True)
class Clustering:
    """`labels` (C,) from 0, `centres` (K, D) in the units of the features, and the features' `scale` (D,)."""

    labels: Array
    centres: Array
    scale: Array
    predict: Callable[[Array], Array]
    """labels of other customers, by their features (*, D)"""

    @cached_property
    def sizes(self) -> Array:
        """(K,) customers."""
        return np.bincount(self.labels, minlength=len(self.centres))


@dataclass(frozen=True)
class Tried:
    """One number of segments: what it explains of later spend, and how alike it comes out of other samples."""

    k: int
    eta: float
    ari: float


def cluster(features: Array, scale: Array, k: int, seed: int) -> Clustering:
    """KMeans over features ÷ `scale` (D,); ConfigError for fewer distinct customers than segments."""
    scaled = features / scale
    if len(np.unique(scaled.round(9), axis=0)) < k:
        raise ConfigError(f"{len(features):,} customers are too alike for k={k} segments; lower k")
    with require_extra("insights"):
        from sklearn.cluster import KMeans
    found = KMeans(k, n_init=10, random_state=seed).fit(scaled)
    return Clustering(
        found.labels_, found.cluster_centers_ * scale, scale, lambda others: found.predict(others / scale)
    )


def stability(features: Array, whole: Clustering, seed: int, resamples: int = RESAMPLES) -> float:
    """The mean adjusted Rand index between `whole` and the segments that bootstrap samples of customers give."""
    with require_extra("insights"):
        from sklearn.metrics import adjusted_rand_score
    rng = np.random.default_rng(seed)
    scores = []
    for resample in range(resamples):
        drawn = features[rng.integers(0, len(features), min(len(features), SAMPLE))]
        again = cluster(drawn, whole.scale, len(whole.centres), seed + 1 + resample)
        scores.append(adjusted_rand_score(whole.labels, again.predict(features)))
    return float(np.mean(scores))


def explained(labels: Array, later: Array) -> float:
    """η²: the share of the variance of `later` (C,) that lies between segments; 0 where nothing varies."""
    total = ((later - later.mean()) ** 2).sum()
    sizes = np.maximum(np.bincount(labels), 1)
    means = np.bincount(labels, later) / sizes
    return float((np.bincount(labels) * (means - later.mean()) ** 2).sum() / total) if total > 0 else 0.0


def try_all(features: Array, scale: Array, later: Array, seed: int) -> list[Tried]:
    """Two to eight segments of the same customers, judged by what they spent `later`."""
    found = []
    for k in range(2, LARGEST + 1):
        whole = cluster(features, scale, k, seed)
        found.append(Tried(k, explained(whole.labels, later), stability(features, whole, seed)))
    return found


def chosen(tried: list[Tried], min_ari: float) -> Tried:
    """The best η² among those that other samples give too, else the one that they give most alike."""
    stable = [one for one in tried if one.ari >= min_ari]
    return max(stable, key=lambda one: one.eta) if stable else max(tried, key=lambda one: one.ari)


def matched(distances: Array, limit: float) -> dict[int, int]:
    """New segment → old one, by the Hungarian method on `distances` (new, old); none that are `limit` apart."""
    new, old = linear_sum_assignment(distances)
    return {int(a): int(b) for a, b in zip(new, old, strict=True) if distances[a, b] < limit}


def by_centres(new: Clustering, centres: Array, limit: float = FAR) -> dict[int, int]:
    """New segment → the old one with the nearest centre, in the same features; none where all are `limit` away."""
    apart = (new.centres[:, None] - centres[None]) / new.scale
    return matched(np.sqrt((apart**2).mean(axis=2)), limit)


def by_customers(new: Array, old: Array, k: int) -> dict[int, int]:
    """New segment → the old one with which it shares most customers; labels (C,) of customers in both, old ones
    whole numbers of any size.
    """
    names, old = np.unique(old, return_inverse=True)
    shared = np.zeros((k, len(names)))
    np.add.at(shared, (new, old), 1)
    size = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
    found = matched(1 - shared / np.maximum(size, 1), 1.0)
    return {a: int(names[b]) for a, b in found.items()}
