"""Clusters of customers: how they are found, how their number is chosen, and how they are matched with earlier ones.

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
MAX_SEGMENTS = 8
"""more than a page can name"""
N_RESAMPLES = 10
MAX_SAMPLE = 50_000
"""customers in one bootstrap sample"""
MAX_DISTANCE = 1.5
"""scaled distance from which two centres are different segments"""


@dataclass(frozen=True)
class Clustering:
    """`labels` (C,) from 0, `centres` (K, D) in the units of the features, and the features' `scale` (D,)."""

    labels: Array
    centres: Array
    scale: Array
    predict: Callable[[Array], Array]
    """labels of other customers, from their features (*, D)"""

    @cached_property
    def sizes(self) -> Array:
        """(K,) the number of customers in each segment."""
        return np.bincount(self.labels, minlength=len(self.centres))


@dataclass(frozen=True)
class ClusteringScore:
    """The number of segments, the share of later spend that they explain (η²), and their agreement over bootstrap
    samples (adjusted Rand index).
    """

    k: int
    eta: float
    ari: float


def cluster_customers(features: Array, scale: Array, k: int, seed: int) -> Clustering:
    """KMeans of features ÷ `scale` (D,) in `k` segments; raises ConfigError for fewer distinct customers than that."""
    scaled = features / scale
    if len(np.unique(scaled.round(9), axis=0)) < k:
        raise ConfigError(f"{len(features):,} customers are too alike for k={k} segments; lower k")
    with require_extra("insights"):
        from sklearn.cluster import KMeans
    kmeans = KMeans(k, n_init=10, random_state=seed).fit(scaled)
    centres = kmeans.cluster_centers_ * scale
    return Clustering(kmeans.labels_, centres, scale, lambda others: kmeans.predict(others / scale))


def compute_stability(features: Array, clustering: Clustering, seed: int, n_resamples: int = N_RESAMPLES) -> float:
    """The mean adjusted Rand index between `clustering` and the clusterings of bootstrap samples of the customers."""
    with require_extra("insights"):
        from sklearn.metrics import adjusted_rand_score
    rng = np.random.default_rng(seed)
    scores = []
    for number in range(n_resamples):
        sample = features[rng.integers(0, len(features), min(len(features), MAX_SAMPLE))]
        resampled = cluster_customers(sample, clustering.scale, len(clustering.centres), seed + 1 + number)
        scores.append(adjusted_rand_score(clustering.labels, resampled.predict(features)))
    return float(np.mean(scores))


def compute_eta_squared(labels: Array, values: Array) -> float:
    """η²: the share of the variance of `values` (C,) that lies between segments; 0 where the values do not vary."""
    total = ((values - values.mean()) ** 2).sum()
    sizes = np.bincount(labels)
    means = np.bincount(labels, values) / np.maximum(sizes, 1)
    return float((sizes * (means - values.mean()) ** 2).sum() / total) if total > 0 else 0.0


def score_segment_counts(features: Array, scale: Array, later_spend: Array, seed: int) -> list[ClusteringScore]:
    """The scores of two to eight segments of the same customers, of which `later_spend` (C,) was kept back."""
    scores = []
    for k in range(2, MAX_SEGMENTS + 1):
        clustering = cluster_customers(features, scale, k, seed)
        eta = compute_eta_squared(clustering.labels, later_spend)
        scores.append(ClusteringScore(k, eta, compute_stability(features, clustering, seed)))
    return scores


def choose_segment_count(scores: list[ClusteringScore], min_ari: float) -> ClusteringScore:
    """The score with the best η² among those with an ARI of at least `min_ari`; where there is none, the best ARI."""
    stable = [score for score in scores if score.ari >= min_ari]
    return max(stable, key=lambda score: score.eta) if stable else max(scores, key=lambda score: score.ari)


def match_segments(distances: Array, limit: float) -> dict[int, int]:
    """New segment → old segment, by the Hungarian method on `distances` (new, old); pairs `limit` or more apart are
    left out.
    """
    new, old = linear_sum_assignment(distances)
    return {int(a): int(b) for a, b in zip(new, old, strict=True) if distances[a, b] < limit}


def match_by_centres(clustering: Clustering, centres: Array, limit: float = MAX_DISTANCE) -> dict[int, int]:
    """New segment → the old segment with the nearest of `centres`, in the same features; left out where all are
    `limit` or more away.
    """
    differences = (clustering.centres[:, None] - centres[None]) / clustering.scale
    return match_segments(np.sqrt((differences**2).mean(axis=2)), limit)


def match_by_customers(new_labels: Array, old_labels: Array, k: int) -> dict[int, int]:
    """New segment → the old segment with which it shares most customers, from the labels (C,) of the customers who are
    in both; old labels may be any whole numbers.
    """
    old_numbers, old_labels = np.unique(old_labels, return_inverse=True)
    shared = np.zeros((k, len(old_numbers)))
    np.add.at(shared, (new_labels, old_labels), 1)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0) - shared
    matches = match_segments(1 - shared / np.maximum(union, 1), 1.0)
    return {new: int(old_numbers[old]) for new, old in matches.items()}
