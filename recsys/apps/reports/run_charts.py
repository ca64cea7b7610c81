"""Pictures of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsys.apps.reports.charts import FAINT, GROUND, LINE, SERIES, TEXT, clipped, drawing, percent

Json = dict[str, Any]
MARKERS = "osD^vP"
BEHIND = {"facecolor": GROUND, "alpha": 0.7, "linewidth": 0, "pad": 0.5}
LABELS = 8
"""items named on the map, if there is room"""


def intervals(rows: Sequence[Json], k: int) -> str:
    """NDCG of the model and the baselines, each with its interval."""
    with drawing("intervals", f"ndcg@{k} with 95% intervals", 40 + 34 * len(rows)) as drawn:
        axes = drawn.axes()
        for place, row in enumerate(rows):
            colour = SERIES[0] if row["model"] else SERIES[1]
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=3, solid_capstyle="round")
            axes.plot(row["ndcg"], place, "o", color=colour, markersize=6)
            axes.text(0, place - 0.22, f"{row['name']} {row['ndcg']:.4f}", va="bottom", fontsize=9.2)
        axes.set(ylim=(len(rows) - 0.6, -0.8), xlim=(0, None), yticks=[], xlabel=f"ndcg@{k}")
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
    return drawn.svg


def curves(found: dict[str, Any], best: int | None) -> str:
    """Loss and validation by epoch, the best epoch marked."""
    shown = [name for name in ("train/loss", "val/ndcg@10") if name in found]
    with drawing("curves", "training loss and validation ndcg@10 by epoch", 150 * len(shown) + 10) as drawn:
        for n, axes in enumerate(np.atleast_1d(drawn.axes(len(shown), sharex=True))):
            own = found[shown[n]]
            epochs = [epoch + 1 for epoch in own["epoch"]]
            axes.plot(epochs, own["value"], color=SERIES[n], marker="o" if len(epochs) < 30 else None, markersize=3.5)
            if best is not None and best in own["epoch"]:
                axes.axvline(best + 1, color=LINE, linewidth=1.2, linestyle="--")
                if shown[n].startswith("val"):
                    at = own["value"][own["epoch"].index(best)]
                    axes.plot(best + 1, at, "o", color=SERIES[n], markersize=7)
            axes.set_ylabel(shown[n])
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.margins(y=0.12)
        axes.set_xlabel("epoch")
    return drawn.svg


def coverage(rows: Sequence[Json], k: int) -> str:
    """How much of the catalogue is shown against how well it is ranked."""
    with drawing("coverage", f"coverage@{k} against ndcg@{k}", 280) as drawn:
        axes = drawn.axes()
        for n, row in enumerate(sorted(rows, key=lambda row: not row["model"])):
            style = {"color": SERIES[n % len(SERIES)], "marker": MARKERS[n % len(MARKERS)]}
            low, high = row["ndcg"] - row["low"], row["high"] - row["ndcg"]
            axes.errorbar(row["coverage"], row["ndcg"], [[low], [high]], linestyle="none", markersize=7,
                          label=row["name"], elinewidth=1.2, **style)  # fmt: skip
        axes.set(xlabel=f"share of the catalogue on lists of {k}", ylabel=f"ndcg@{k}", ylim=(0, None))
        axes.margins(x=0.08)
        axes.set_xlim(max(axes.get_xlim()[0], -0.02), min(axes.get_xlim()[1], 1.02))
        percent(axes.xaxis)
        drawn.figure.legend(loc="outside lower center", ncols=2, handletextpad=0.3)
    return drawn.svg


def segments(name: str, rankings: dict[str, list[Json]], k: int) -> str:
    """NDCG of each segment with its interval, the model beside the best baseline."""
    names = [row["segment"] for row in next(iter(rankings.values())) if "ndcg" in row]
    with drawing(name, f"ndcg@{k} by {name} with 95% intervals", 60 + 42 * len(names)) as drawn:
        axes = drawn.axes()
        for n, (model, rows) in enumerate(rankings.items()):
            places = [names.index(row["segment"]) + 0.2 * n for row in rows if "ndcg" in row]
            means = np.array([row["ndcg"] for row in rows if "ndcg" in row])
            spans = np.array([[row["low"], row["high"]] for row in rows if "ndcg" in row]).reshape(-1, 2)
            axes.errorbar(means, places, xerr=[means - spans[:, 0], spans[:, 1] - means], linestyle="none",
                          marker=MARKERS[n], color=SERIES[n], elinewidth=2.5, label=model)  # fmt: skip
        for place, segment in enumerate(names):
            axes.text(0, place - 0.2, segment, va="bottom", fontsize=9.2)
        axes.set(ylim=(len(names) - 0.45, -0.75), xlim=(0, None), yticks=[], xlabel=f"ndcg@{k}")
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        drawn.figure.legend(loc="outside lower center", ncols=2, handletextpad=0.3)
    return drawn.svg


def item_map(found: Json) -> str:
    """Items where the model puts them, in the colours of their categories, a few by name."""
    with drawing("map", "map of item vectors", 340) as drawn:
        axes = drawn.axes()
        kinds = [*found["categories"], "other"] if found["categories"] else ["other"]
        for kind, colour in zip(kinds, [*SERIES[: len(kinds) - 1], FAINT], strict=True):
            own = np.array([(item["x"], item["y"]) for item in found["items"] if item["category"] == kind]).reshape(
                -1, 2
            )
            if len(own):
                pale = 0.45 if kind == "other" and len(kinds) > 1 else 0.8
                axes.scatter(
                    own[:, 0], own[:, 1], s=11, color=colour, alpha=pale, label=clipped(kind, 24), linewidths=0
                )
        first, second = found["share"]
        axes.set(xlabel=f"first component ({first:.0%})", ylabel=f"second component ({second:.0%})")
        axes.set(xticks=[], yticks=[])
        if len(kinds) > 1:
            drawn.figure.legend(loc="outside lower center", ncols=2, handletextpad=0.1, markerscale=1.6)
        _name(drawn.figure, axes, found["items"])
    return drawn.svg


def _name(figure: Any, axes: Any, items: Sequence[Json]) -> None:
    """Names of the most popular items that find room beside each other."""
    figure.canvas.draw()
    renderer, inside = figure.canvas.get_renderer(), axes.get_window_extent()
    taken: list[Any] = []
    for item in items[: 8 * LABELS]:
        text = axes.annotate(clipped(item["title"], 24), (item["x"], item["y"]), (4, 3), textcoords="offset points",
                             fontsize=8.5, color=TEXT, bbox=BEHIND)  # fmt: skip
        box = text.get_window_extent(renderer).padded(3)
        free = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        if len(taken) < LABELS and free and not any(box.overlaps(other) for other in taken):
            taken.append(box)
        else:
            text.remove()
