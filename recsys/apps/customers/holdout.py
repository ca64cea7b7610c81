"""Evaluate segments by purchases that were kept back from them, and choose their number by an earlier window.

C customers, K segments.
"""

from dataclasses import dataclass

import numpy as np

from recsys.apps.customers.clustering import (
    Clustering,
    ClusteringScore,
    choose_segment_count,
    cluster_customers,
    compute_eta_squared,
    compute_stability,
    score_segment_counts,
)
from recsys.apps.customers.customer_features import CustomerFeatures, FeatureBuilder, scale_rfm_features
from recsys.apps.customers.purchases import Purchases

Array = np.ndarray


@dataclass(frozen=True)
class HoldoutWindows:
    """Purchases from day `choose` to `cut` choose the number of segments; those from `cut` on evaluate them."""

    choose: int
    cut: int
    min_ari: float
    seed: int


@dataclass(frozen=True)
class HoldoutResult:
    """Segments of the customers before day `cut`, evaluated by what they spent from it on."""

    cut: int
    features: CustomerFeatures
    clustering: Clustering
    later_spend: Array
    """(C,)"""
    score: ClusteringScore

    def mean_later_spend(self, labels: Array, k: int) -> list[float]:
        """(K,) mean later spend by segment, with segments numbered by the customers' `labels` (C,)."""
        return [
            float(self.later_spend[labels == segment].mean()) if (labels == segment).any() else 0.0
            for segment in range(k)
        ]

    def __str__(self) -> str:
        score, since = self.score, np.datetime64(self.cut, "D")
        explained = f"explain {score.eta:.1%} of later spend (η², purchases from {since} on)"
        return f"{score.k} segments {explained}; {score.ari:.1%} agreement over resamples (ARI)"


def evaluate_segments(
    purchases: Purchases, build_features: FeatureBuilder, k: int | None, windows: HoldoutWindows
) -> HoldoutResult:
    """`k` segments evaluated on the second window; for None, the number that explains most of the spend in the first
    window among the stable ones.
    """
    if k is None:
        first_features = build_features(windows.choose)
        _, spend = purchases.sum_between(windows.choose, windows.cut, first_features.customers.numbers)
        scores = score_segment_counts(first_features.values, first_features.scale, spend, windows.seed)
        k = choose_segment_count(scores, windows.min_ari).k
    features = build_features(windows.cut)
    _, later_spend = purchases.sum_between(windows.cut, purchases.end, features.customers.numbers)
    clustering = cluster_customers(features.values, features.scale, k, windows.seed)
    ari = compute_stability(features.values, clustering, windows.seed)
    score = ClusteringScore(k, compute_eta_squared(clustering.labels, later_spend), ari)
    return HoldoutResult(windows.cut, features, clustering, later_spend, score)


def compare_with_rfm(purchases: Purchases, result: HoldoutResult, k: int | None, windows: HoldoutWindows) -> str:
    """Whether segments of the model's vectors explain more than those of RFM of the same customers, as a sentence."""
    numbers = result.features.customers.numbers

    def build_features(day: int) -> CustomerFeatures:
        customers = purchases.summarize_before(day)
        return scale_rfm_features(customers.select(np.isin(customers.numbers, numbers)))

    rfm = evaluate_segments(purchases, build_features, k, windows)
    better = result.score.eta > rfm.score.eta
    verdict = "beat RFM" if better else "do NOT beat RFM; use by=rfm"
    return f"From RFM of the same customers, {rfm}. The model's vectors {verdict}."
