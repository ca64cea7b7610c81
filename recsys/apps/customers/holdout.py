"""How many segments, and what they are worth: judged by purchases that were kept back from them.

C customers, K segments.
"""

from dataclasses import dataclass

import numpy as np

from recsys.apps.customers.clustering import Clustering, Tried, chosen, cluster, explained, stability, try_all
from recsys.apps.customers.customer_features import Look, View, rfm_of
from recsys.apps.customers.purchases import Ledger

Array = np.ndarray


@dataclass(frozen=True)
class Windows:
    """Later purchases choose the number of segments from day `choose` to `cut`, and judge them from there on."""

    choose: int
    cut: int
    min_ari: float
    seed: int


@dataclass(frozen=True)
class Judged:
    """Segments as of the day `cut`."""

    cut: int
    view: View
    clustering: Clustering
    later: Array
    """(C,) what each customer spent from the cut on"""
    figures: Tried

    def means(self, labels: Array, k: int) -> list[float]:
        """(K,) mean later spend of segments that the customers' `labels` number."""
        return [float(self.later[labels == one].mean()) if (labels == one).any() else 0.0 for one in range(k)]

    def __str__(self) -> str:
        found, since = self.figures, np.datetime64(self.cut, "D")
        figures = f"η² of later spend {found.eta:.3f}, ARI of bootstrap samples {found.ari:.3f}"
        return f"k = {found.k}, judged from {since} on: {figures}"


def judge(ledger: Ledger, look: Look, k: int | None, windows: Windows) -> Judged:
    """`k` segments, or (None) as many as explain most of the first window among those that other samples of customers
    give too, judged on the second.
    """
    if k is None:
        before = look(windows.choose)
        _, spent = ledger.between(windows.choose, windows.cut, before.standing.customers)
        k = chosen(try_all(before.features, before.scale, spent, windows.seed), windows.min_ari).k
    view = look(windows.cut)
    _, later = ledger.between(windows.cut, ledger.end, view.standing.customers)
    whole = cluster(view.features, view.scale, k, windows.seed)
    ari = stability(view.features, whole, windows.seed)
    return Judged(windows.cut, view, whole, later, Tried(k, explained(whole.labels, later), ari))


def beside_rfm(ledger: Ledger, judged: Judged, k: int | None, windows: Windows) -> str:
    """A sentence on whether segments of vectors beat those of RFM of the same customers."""
    people = judged.view.standing.customers

    def same(day: int) -> View:
        standing = ledger.before(day)
        return rfm_of(standing.of(np.isin(standing.customers, people)))

    other = judge(ledger, same, k, windows)
    better = judged.figures.eta > other.figures.eta
    verdict = "beat RFM" if better else "do NOT beat RFM; use by=rfm"
    return f"RFM of the same customers, {other}: segments of the model's vectors {verdict}."
