"""Charts of an event log, from the figures of `log_statistics`, `split_statistics` and `side_tables`."""

from datetime import date
from typing import Any

import numpy as np

from recsys.apps.reports.charts import (
    FAINT,
    SERIES,
    draw_percent_bars,
    draw_svg,
    format_axis_as_percent,
    plot_log_histogram,
)
from recsys.apps.reports.sufficiency import compute_half_width

Json = dict[str, Any]
TIME_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
TIME_UNITS["year"] = 365 * 86_400


def draw_events_over_time(activity: Json) -> str:
    """Events per step over time, with one line per type of event."""
    with draw_svg("days", f"events per {activity['step']} over time") as drawing:
        axes = drawing.axes()
        starts = [date.fromisoformat(start) for start in activity["starts"]]
        for colour, (label, counts) in zip(SERIES, activity["events"].items(), strict=False):
            axes.plot(starts, counts, color=colour, label=label, linewidth=1.2)
        if len(activity["events"]) > 1:
            drawing.figure.legend(loc="outside upper center", ncols=3)
        _format_dates(axes)
        axes.set(ylim=(0, None), ylabel=f"events per {activity['step']}")
        axes.yaxis.set_major_formatter(lambda n, _: _abbreviate(n))
    return drawing.svg


def draw_long_tail(popularity: Json) -> str:
    """The Lorenz curve of events over items, starting with the most popular item."""
    description = f"share of events on the most popular items, Gini {popularity['gini']:.2f}"
    with draw_svg("tail", description) as drawing:
        axes = drawing.axes()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        axes.plot(popularity["curve"]["items"], popularity["curve"]["events"], color=SERIES[0])
        axes.text(0.62, 0.55, "all equal", color=FAINT, fontsize=9.2)
        for top, fraction_of_events in popularity["top"].items():
            axes.plot(float(top.rstrip("%")) / 100, fraction_of_events, "o", color=SERIES[0], markersize=4)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of items, most popular first", ylabel="share of events")
        format_axis_as_percent(axes.xaxis)
        format_axis_as_percent(axes.yaxis)
    return drawing.svg


def draw_history_lengths(history: Json) -> str:
    """A histogram of the number of events per user."""
    with draw_svg("history", "histogram of events per user") as drawing:
        axes = drawing.axes()
        plot_log_histogram(axes, history["histogram"]["edges"], history["histogram"]["counts"])
        axes.set(xlabel="events per user", ylabel="users")
        axes.xaxis.set_major_formatter(lambda n, _: _abbreviate(n))
        axes.yaxis.set_major_formatter(lambda n, _: _abbreviate(n))
    return drawing.svg


def draw_pauses(pauses: Json) -> str:
    """A histogram of the time from one event of a user to the next."""
    with draw_svg("gaps", "histogram of the time from one event of a user to the next") as drawing:
        axes = drawing.axes()
        edges = pauses["histogram"]["edges"]
        plot_log_histogram(axes, edges, pauses["histogram"]["counts"])
        ticks = {name: seconds for name, seconds in TIME_UNITS.items() if edges[0] <= seconds <= edges[-1]}
        axes.set_xticks(list(ticks.values()), list(ticks), rotation=35, ha="right", rotation_mode="anchor")
        axes.set(xlabel="time until the user's next event", ylabel="pauses")
        axes.yaxis.set_major_formatter(lambda n, _: _abbreviate(n))
    return drawing.svg


def draw_repeats_and_novelty(report: Json) -> str:
    """Bars of how much of the log repeats, is new in the test part, or has no order."""
    fractions = {
        "all targets that the user had before": report["repeats"],
        "test targets that the user had before": report["test"]["repeated_targets"],
        "test targets first seen after training": report["test"]["cold_targets"],
        "test users first seen after training": report["test"]["cold_users"],
    }
    if report["ties"] is not None:
        fractions["same time as another event of the user"] = report["ties"]["share"]
    return draw_percent_bars(
        "shares", "shares of repeats, of new items and users in the test part, and of ties", fractions
    )


def draw_missing_metadata(fractions: dict[str, float]) -> str:
    """Bars of how much of the item and user tables is missing."""
    return draw_percent_bars("missing", "shares of missing metadata", fractions)


def draw_interval_width(n_users: int) -> str:
    """The half width of a 95% interval against the number of test users, with a dot at `n_users`."""
    with draw_svg(
        "width", f"half width of the 95% interval by number of test users; this log has {n_users}"
    ) as drawing:
        axes = drawing.axes()
        numbers = np.geomspace(10, max(100_000, 2 * n_users), 60)
        axes.plot(numbers, [compute_half_width(int(n)) for n in numbers], color=SERIES[0])
        if n_users >= 10:
            half_width = compute_half_width(n_users)
            axes.plot(n_users, half_width, "o", color=SERIES[1], markersize=7)
            alignment, shift = ("left", 1.25) if n_users < 3000 else ("right", 0.8)
            axes.text(n_users * shift, half_width * 1.15, f"{n_users:,} users", ha=alignment)
        axes.set(xscale="log", yscale="log", xlabel="test users", ylabel="half width of the 95% interval")
        axes.set_yticks([0.002, 0.01, 0.05, 0.2], ["± 0.002", "± 0.01", "± 0.05", "± 0.2"])
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda n, _: _abbreviate(n))
    return drawing.svg


def _format_dates(axes: Any) -> None:
    """Give the x axis three to six short dates."""
    from matplotlib import dates

    locator = dates.AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _abbreviate(n: float) -> str:
    """A count in few characters, such as 12k for 12,000."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(n) >= unit:
            return f"{n / unit:g}{letter}"
    return f"{n:g}"
