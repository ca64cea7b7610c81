"""A picture of segments: the two directions in which customers differ most, and who brings the money."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recsys.apps.customers.clustering import Clustering
from recsys.apps.customers.segment_report import Profile
from recsys.extras import require_extra
from recsys.run import atomic

POINTS = 5000


def draw(
    path: Path,
    features: np.ndarray,
    found: Clustering,
    called: Sequence[tuple[int, str]],
    about: Sequence[Profile],
    fewest: int,
    money: str,
) -> None:
    """Write a PNG of the segments of at least `fewest` customers."""
    with require_extra("insights"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from sklearn.decomposition import PCA
    shown = [one for one in np.argsort([n for n, _ in called]) if about[one].customers >= fewest]
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    drawn = np.random.default_rng(0).permutation(len(features))[:POINTS]
    places = PCA(2).fit((features - features.mean(axis=0)) / found.scale)
    flat = places.transform((features[drawn] - features.mean(axis=0)) / found.scale)
    colours = [f"C{place}" for place in range(len(shown))]
    for one, colour in zip(shown, colours, strict=True):
        own = flat[found.labels[drawn] == one]
        left.scatter(own[:, 0], own[:, 1], s=5, alpha=0.5, color=colour, label=f"{called[one][0]} {called[one][1]}")
    parts = places.explained_variance_ratio_
    left.set(xlabel=f"first component ({parts[0]:.0%})", ylabel=f"second component ({parts[1]:.0%})")
    if shown:
        left.legend(markerscale=3, fontsize="small")
    rows = np.arange(len(shown))
    right.barh(rows - 0.2, [about[one].share for one in shown], 0.4, color=colours, alpha=0.4)
    right.barh(rows + 0.2, [about[one].share_of_spend for one in shown], 0.4, color=colours)
    right.set_yticks(rows, [str(called[one][0]) for one in shown])
    right.invert_yaxis()
    right.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    right.set(xlabel=f"share of customers (pale) and of {money} (full)", ylabel="segment")
    with atomic(path) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, format="png")
