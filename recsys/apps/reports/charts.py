"""Pictures as <svg> elements that take their colours from the page, so that they are legible on light and dark."""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys.extras import require_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {f"#0a000{n}": f"var(--c{n})" for n in range(1, 7)}
SERIES = tuple(COLOURS)
TEXT, FAINT, LINE, GROUND = "#0b0001", "#0b0002", "#0b0003", "#0b0004"
STANDINS = COLOURS | {TEXT: "var(--text)", FAINT: "var(--faint)", LINE: "var(--line)", GROUND: "var(--card)"}
"""colours that matplotlib is told, and what the page knows them as"""
WIDTH = 320
"""of every picture in its own pixels: a phone's column shows it almost full size"""
STYLE: Any = {
    "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 10, "text.parse_math": False,
    "text.color": TEXT, "axes.labelcolor": FAINT, "xtick.labelcolor": FAINT, "ytick.labelcolor": FAINT,
    "xtick.color": LINE, "ytick.color": LINE, "axes.edgecolor": LINE, "grid.color": LINE, "grid.linewidth": 0.7,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": True,
    "legend.frameon": False, "legend.fontsize": 9.2, "xtick.labelsize": 9.2, "ytick.labelsize": 9.2,
    "axes.labelsize": 9.2, "axes.unicode_minus": False, "lines.linewidth": 1.8, "axes.titlesize": 10,
}  # fmt: skip


class Drawing:
    """A figure while it is drawn on, then `svg`."""

    svg = ""

    def __init__(self, figure: "Figure") -> None:
        self.figure = figure

    def axes(self, rows: int = 1, **settings: Any) -> Any:
        """One pair of axes, or as many as `rows` below each other."""
        return self.figure.subplots(rows, **settings)


@contextmanager
def drawing(name: str, about: str, height: int = 220) -> Iterator[Drawing]:
    """A picture to draw on, whose `svg` is there when the block ends; `name` makes its parts' ids differ from those of
    other pictures on the page, `about` says what it shows to those who do not see it.
    """
    with require_extra("insights"):
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        FigureCanvasAgg(figure)  # measures texts
        drawn = Drawing(figure)
        yield drawn
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
        drawn.svg = _of_page(text.getvalue(), name, about)


def _of_page(text: str, name: str, about: str) -> str:
    """The <svg> element of matplotlib's file, in the page's colours and with ids of its own."""
    svg = text[text.index("<svg") :]
    for colour, variable in STANDINS.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"<(metadata|title)>.*?</\1>", "", svg, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    size = re.search(r'viewBox="[^"]*"', svg)
    assert size is not None, "matplotlib wrote no viewBox"
    inside = svg[svg.index(">") + 1 :]
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} {size[0]} role="img" aria-label="{escape(about)}">{inside.strip()}'


def percent(axis: Any) -> None:
    """Numbers of an axis, shares, as percent."""
    axis.set_major_formatter(lambda share, _: f"{share * 100:g}%")


def rounded(share: float) -> str:
    """A share in percent, what is little apart from nothing."""
    return "< 0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def clipped(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def bars(name: str, about: str, shares: Mapping[str, float]) -> str:
    """Horizontal bars of shares, each with its name above and its value behind it."""
    with drawing(name, about, 34 + 36 * len(shares)) as drawn:
        axes = drawn.axes()
        places = range(len(shares))
        axes.barh(places, list(shares.values()), 0.42, color=SERIES[0])
        for place, (label, share) in enumerate(shares.items()):
            axes.text(0, place - 0.3, f"{clipped(label, 42)}: {rounded(share)}", va="bottom", fontsize=9.2)
        axes.set(xlim=(0, 1), ylim=(len(shares) - 0.6, -0.85), yticks=[])
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        percent(axes.xaxis)
    return drawn.svg


def histogram(axes: "Axes", edges: Any, counts: Any, colour: str = SERIES[0]) -> None:
    """Bars from edge to edge, on a logarithmic axis."""
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge",
             color=colour, edgecolor=GROUND, linewidth=0.6)  # fmt: skip
    axes.set_xscale("log")
    axes.grid(axis="x", visible=False)
    axes.minorticks_off()
