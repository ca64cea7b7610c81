"""Charts as <svg> elements that take their colours from the page, so that they are legible in light and dark."""

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
PAGE_COLOURS = COLOURS | {TEXT: "var(--text)", FAINT: "var(--faint)", LINE: "var(--line)", GROUND: "var(--card)"}
"""placeholder colour in matplotlib's output → CSS variable of the page"""
WIDTH = 320
"""width of every chart in its own pixels; a phone shows it almost at full size"""
STYLE: Any = {
    "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 10, "text.parse_math": False,
    "text.color": TEXT, "axes.labelcolor": FAINT, "xtick.labelcolor": FAINT, "ytick.labelcolor": FAINT,
    "xtick.color": LINE, "ytick.color": LINE, "axes.edgecolor": LINE, "grid.color": LINE, "grid.linewidth": 0.7,
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": True,
    "legend.frameon": False, "legend.fontsize": 9.2, "xtick.labelsize": 9.2, "ytick.labelsize": 9.2,
    "axes.labelsize": 9.2, "axes.unicode_minus": False, "lines.linewidth": 1.8, "axes.titlesize": 10,
}  # fmt: skip


class Drawing:
    """A matplotlib figure to draw on, and its text in `svg` once `draw_svg` has closed it."""

    svg = ""

    def __init__(self, figure: "Figure") -> None:
        self.figure = figure

    def axes(self, rows: int = 1, **settings: Any) -> Any:
        """One pair of axes, or an array of `rows` pairs below each other."""
        return self.figure.subplots(rows, **settings)


@contextmanager
def draw_svg(name: str, description: str, height: int = 220) -> Iterator[Drawing]:
    """A chart to draw on, whose `svg` is set when the block ends. `name` keeps its ids apart from those of other charts
    on the page; `description` is read to people who cannot see it; `height` is in pixels.
    """
    with require_extra("insights"):
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        FigureCanvasAgg(figure)  # measures texts
        drawing = Drawing(figure)
        yield drawing
        text = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=no_metadata)
        drawing.svg = _adapt_to_page(text.getvalue(), name, description)


def _adapt_to_page(text: str, name: str, description: str) -> str:
    """The <svg> element of matplotlib's file, with the page's colours and with ids that start with `name`."""
    svg = text[text.index("<svg") :]
    for colour, variable in PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"<(metadata|title)>.*?</\1>", "", svg, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None, "matplotlib wrote no viewBox"
    content = svg[svg.index(">") + 1 :]
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {namespaces} {view_box[0]} role="img" aria-label="{escape(description)}">{content.strip()}'


def format_axis_as_percent(axis: Any) -> None:
    """Write the ticks of an axis of fractions as per cent."""
    axis.set_major_formatter(lambda fraction, _: f"{fraction * 100:g}%")


def format_percent(fraction: float) -> str:
    """A fraction as per cent with one decimal; "< 0.1%" where that would round to nothing."""
    return "< 0.1%" if 0 < fraction < 0.0005 else f"{fraction:.1%}"


def truncate_text(text: str, max_length: int) -> str:
    """The text, cut to at most `max_length` characters, the last of them an ellipsis."""
    return text if len(text) <= max_length else f"{text[: max_length - 1].rstrip()}…"


def draw_percent_bars(name: str, description: str, fractions: Mapping[str, float]) -> str:
    """Horizontal bars from 0% to 100%, each with its label and its value above it."""
    with draw_svg(name, description, 34 + 36 * len(fractions)) as drawing:
        axes = drawing.axes()
        axes.barh(range(len(fractions)), list(fractions.values()), 0.42, color=SERIES[0])
        for y, (label, fraction) in enumerate(fractions.items()):
            axes.text(0, y - 0.3, f"{truncate_text(label, 42)}: {format_percent(fraction)}", va="bottom", fontsize=9.2)
        axes.set(xlim=(0, 1), ylim=(len(fractions) - 0.6, -0.85), yticks=[])
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        format_axis_as_percent(axes.xaxis)
    return drawing.svg


def plot_log_histogram(axes: "Axes", edges: Any, counts: Any, colour: str = SERIES[0]) -> None:
    """Draw bars from edge to edge on a logarithmic x axis."""
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge",
             color=colour, edgecolor=GROUND, linewidth=0.6)  # fmt: skip
    axes.set_xscale("log")
    axes.grid(axis="x", visible=False)
    axes.minorticks_off()
