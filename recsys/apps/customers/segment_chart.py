"""The chart of `recsys segment`: customers by segment on two axes, and each segment's share of customers and spend."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsys.apps.customers.clustering import Clustering
from recsys.apps.customers.numbering import NumberedNames
from recsys.apps.customers.segment_report import SegmentProfile
from recsys.extras import require_extra
from recsys.run import atomic

MAX_POINTS = 5000


def draw_segment_chart(
    folder: Path,
    features: np.ndarray,
    clustering: Clustering,
    numbered: NumberedNames,
    profiles: Sequence[SegmentProfile],
    min_customers: int,
    money: str,
) -> None:
    """Write segments.png into a folder: the segments of at least `min_customers` customers, by the features (C, D) that
    were clustered.
    """
    with require_extra("insights"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    by_number = np.argsort([number for number, _ in numbered])
    published = [segment for segment in by_number if profiles[segment].customers >= min_customers]
    colours = {segment: f"C{n}" for n, segment in enumerate(published)}
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    labels = {segment: f"{numbered[segment][0]} {numbered[segment][1]}" for segment in published}
    _plot_customers(left, features, clustering, labels, colours)
    _plot_shares(right, [profiles[segment] for segment in published], list(colours.values()))
    right.set_yticks(range(len(published)), [str(numbered[segment][0]) for segment in published])
    right.invert_yaxis()
    right.set(xlabel=f"share of customers (pale) and of {money} (full)", ylabel="segment")
    with atomic(folder / "segments.png") as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, format="png")


def _plot_customers(
    axes: Any, features: np.ndarray, clustering: Clustering, labels: dict[int, str], colours: dict[int, str]
) -> None:
    """Draw a sample of the customers on the first two principal components of their scaled features."""
    with require_extra("insights"):
        from sklearn.decomposition import PCA
    sample = np.random.default_rng(0).permutation(len(features))[:MAX_POINTS]
    scaled = (features - features.mean(axis=0)) / clustering.scale
    pca = PCA(2).fit(scaled)
    points = pca.transform(scaled[sample])
    for segment, label in labels.items():
        members = points[clustering.labels[sample] == segment]
        axes.scatter(members[:, 0], members[:, 1], s=5, alpha=0.5, color=colours[segment], label=label)
    first, second = pca.explained_variance_ratio_
    axes.set(xlabel=f"first component ({first:.0%})", ylabel=f"second component ({second:.0%})")
    if labels:
        axes.legend(markerscale=3, fontsize="small")


def _plot_shares(axes: Any, profiles: Sequence[SegmentProfile], colours: Sequence[str]) -> None:
    """Draw two bars for each segment: its share of the customers, and of the spend."""
    rows = np.arange(len(profiles))
    axes.barh(rows - 0.2, [profile.share_of_customers for profile in profiles], 0.4, color=colours, alpha=0.4)
    axes.barh(rows + 0.2, [profile.share_of_spend for profile in profiles], 0.4, color=colours)
    axes.xaxis.set_major_formatter(lambda fraction, _: f"{fraction:.0%}")
