"""Charts of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsys.apps.reports.charts import (
    FAINT,
    GROUND,
    LINE,
    SERIES,
    TEXT,
    draw_svg,
    format_axis_as_percent,
    truncate_text,
)

Json = dict[str, Any]
MARKERS = "osD^vP"
LABEL_BACKGROUND = {"facecolor": GROUND, "alpha": 0.7, "linewidth": 0, "pad": 0.5}
MAX_LABELS = 8
"""items with their title on the map, if there is room"""


def draw_ndcg_intervals(rows: Sequence[Json], k: int) -> str:
    """NDCG of the model and of the baselines, each with its interval."""
    with draw_svg("intervals", f"ndcg@{k} with 95% intervals", 40 + 34 * len(rows)) as drawing:
        axes = drawing.axes()
        for y, row in enumerate(rows):
            colour = SERIES[0] if row["model"] else SERIES[1]
            axes.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=3, solid_capstyle="round")
            axes.plot(row["ndcg"], y, "o", color=colour, markersize=6)
            axes.text(0, y - 0.22, f"{row['name']} {row['ndcg']:.4f}", va="bottom", fontsize=9.2)
        axes.set(ylim=(len(rows) - 0.6, -0.8), xlim=(0, None), yticks=[], xlabel=f"ndcg@{k}")
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
    return drawing.svg


def draw_learning_curves(curves: dict[str, Any], best_epoch: int | None) -> str:
    """Training loss and validation NDCG by epoch, with the best epoch marked."""
    names = [name for name in ("train/loss", "val/ndcg@10") if name in curves]
    with draw_svg("curves", "training loss and validation ndcg@10 by epoch", 150 * len(names) + 10) as drawing:
        panels = np.atleast_1d(drawing.axes(len(names), sharex=True))
        for name, axes, colour in zip(names, panels, SERIES, strict=False):
            _plot_curve(axes, name, curves[name], colour, best_epoch)
        panels[-1].set_xlabel("epoch")
    return drawing.svg


def _plot_curve(axes: Any, name: str, curve: Json, colour: str, best_epoch: int | None) -> None:
    """Draw one curve; epochs are counted from 0 in the figures and from 1 on the page."""
    epochs = [epoch + 1 for epoch in curve["epoch"]]
    axes.plot(epochs, curve["value"], color=colour, marker="o" if len(epochs) < 30 else None, markersize=3.5)
    if best_epoch is not None and best_epoch in curve["epoch"]:
        axes.axvline(best_epoch + 1, color=LINE, linewidth=1.2, linestyle="--")
        if name.startswith("val"):
            best_value = curve["value"][curve["epoch"].index(best_epoch)]
            axes.plot(best_epoch + 1, best_value, "o", color=colour, markersize=7)
    axes.set_ylabel(name)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.12)


def draw_coverage(rows: Sequence[Json], k: int) -> str:
    """NDCG against the fraction of the catalogue that is recommended, for the model and the baselines."""
    with draw_svg("coverage", f"coverage@{k} against ndcg@{k}", 280) as drawing:
        axes = drawing.axes()
        for n, row in enumerate(sorted(rows, key=lambda row: not row["model"])):
            style = {"color": SERIES[n % len(SERIES)], "marker": MARKERS[n % len(MARKERS)]}
            low, high = row["ndcg"] - row["low"], row["high"] - row["ndcg"]
            axes.errorbar(row["coverage"], row["ndcg"], [[low], [high]], linestyle="none", markersize=7,
                          label=row["name"], elinewidth=1.2, **style)  # fmt: skip
        axes.set(xlabel=f"share of the catalogue in lists of {k}", ylabel=f"ndcg@{k}", ylim=(0, None))
        axes.margins(x=0.08)
        axes.set_xlim(max(axes.get_xlim()[0], -0.02), min(axes.get_xlim()[1], 1.02))
        format_axis_as_percent(axes.xaxis)
        drawing.figure.legend(loc="outside lower center", ncols=2, handletextpad=0.3)
    return drawing.svg


def draw_segment_ndcg(name: str, rankings: dict[str, list[Json]], k: int) -> str:
    """NDCG of each segment with its interval, of the model and of the best baseline."""
    segments = [row["segment"] for row in next(iter(rankings.values())) if "ndcg" in row]
    with draw_svg(name, f"ndcg@{k} by {name} with 95% intervals", 60 + 42 * len(segments)) as drawing:
        axes = drawing.axes()
        for n, (model, rows) in enumerate(rankings.items()):
            visible = [row for row in rows if "ndcg" in row]
            heights = [segments.index(row["segment"]) + 0.2 * n for row in visible]
            means = np.array([row["ndcg"] for row in visible])
            spans = np.array([[row["low"], row["high"]] for row in visible]).reshape(-1, 2)
            axes.errorbar(means, heights, xerr=[means - spans[:, 0], spans[:, 1] - means], linestyle="none",
                          marker=MARKERS[n], color=SERIES[n], elinewidth=2.5, label=model)  # fmt: skip
        for y, segment in enumerate(segments):
            axes.text(0, y - 0.2, segment, va="bottom", fontsize=9.2)
        axes.set(ylim=(len(segments) - 0.45, -0.75), xlim=(0, None), yticks=[], xlabel=f"ndcg@{k}")
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        drawing.figure.legend(loc="outside lower center", ncols=2, handletextpad=0.3)
    return drawing.svg


def draw_item_map(item_map: Json) -> str:
    """The items at the coordinates of `compute_item_map`, coloured by category, a few with their title."""
    with draw_svg("map", "map of item vectors", 340) as drawing:
        axes = drawing.axes()
        categories = [*item_map["categories"], "other"] if item_map["categories"] else ["other"]
        for category, colour in zip(categories, [*SERIES[: len(categories) - 1], FAINT], strict=True):
            members = [(item["x"], item["y"]) for item in item_map["items"] if item["category"] == category]
            if members:
                x, y = np.array(members).T
                alpha = 0.45 if category == "other" and len(categories) > 1 else 0.8
                label = truncate_text(category, 24)
                axes.scatter(x, y, s=11, color=colour, alpha=alpha, label=label, linewidths=0)
        first, second = item_map["share"]
        axes.set(xlabel=f"first component ({first:.0%})", ylabel=f"second component ({second:.0%})")
        axes.set(xticks=[], yticks=[])
        if len(categories) > 1:
            drawing.figure.legend(loc="outside lower center", ncols=2, handletextpad=0.1, markerscale=1.6)
        _label_items(drawing.figure, axes, item_map["items"])
    return drawing.svg


def _label_items(figure: Any, axes: Any, items: Sequence[Json]) -> None:
    """Write the titles of the most popular items, as far as they do not overlap."""
    figure.canvas.draw()
    renderer, frame = figure.canvas.get_renderer(), axes.get_window_extent()
    boxes: list[Any] = []
    for item in items[: 8 * MAX_LABELS]:
        text = axes.annotate(truncate_text(item["title"], 24), (item["x"], item["y"]), (4, 3), color=TEXT, fontsize=8.5,
                             textcoords="offset points", bbox=LABEL_BACKGROUND)  # fmt: skip
        box = text.get_window_extent(renderer).padded(3)
        fits = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        if len(boxes) < MAX_LABELS and fits and not any(box.overlaps(other) for other in boxes):
            boxes.append(box)
        else:
            text.remove()
