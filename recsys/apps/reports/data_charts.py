"""Pictures of an event log."""

from datetime import date
from typing import Any

import numpy as np

from recsys.apps.reports.charts import FAINT, SERIES, bars, drawing, histogram, percent
from recsys.apps.reports.sufficiency import half_width

Json = dict[str, Any]
SPANS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
SPANS["year"] = 365 * 86_400


def per_day(found: Json) -> str:
    """Events a day, a line for each type."""
    with drawing("days", f"events a {found['step']} over time") as drawn:
        axes = drawn.axes()
        starts = [date.fromisoformat(start) for start in found["starts"]]
        for colour, (label, counts) in zip(SERIES, found["events"].items(), strict=False):
            axes.plot(starts, counts, color=colour, label=label, linewidth=1.2)
        if len(found["events"]) > 1:
            drawn.figure.legend(loc="outside upper center", ncols=3)
        _calendar(axes)
        axes.set(ylim=(0, None), ylabel=f"events a {found['step']}")
        axes.yaxis.set_major_formatter(lambda n, _: _short(n))
    return drawn.svg


def long_tail(found: Json) -> str:
    """The Lorenz curve, the most popular item first."""
    with drawing("tail", f"share of events on the most popular items, Gini {found['gini']:.2f}") as drawn:
        axes = drawn.axes()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        axes.plot(found["curve"]["items"], found["curve"]["events"], color=SERIES[0])
        axes.text(0.62, 0.55, "all alike", color=FAINT, fontsize=9.2)
        for share, reached in found["top"].items():
            place = float(share.rstrip("%")) / 100
            axes.plot(place, reached, "o", color=SERIES[0], markersize=4)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share of items, most popular first", ylabel="share of events")
        percent(axes.xaxis)
        percent(axes.yaxis)
    return drawn.svg


def history(found: Json) -> str:
    """How many users have how many events."""
    with drawing("history", "histogram of events a user") as drawn:
        axes = drawn.axes()
        histogram(axes, found["histogram"]["edges"], found["histogram"]["counts"])
        axes.set(xlabel="events a user", ylabel="users")
        axes.xaxis.set_major_formatter(lambda n, _: _short(n))
        axes.yaxis.set_major_formatter(lambda n, _: _short(n))
    return drawn.svg


def gaps(found: Json) -> str:
    """How long users pause."""
    with drawing("gaps", "histogram of the time from one event of a user to the next") as drawn:
        axes = drawn.axes()
        edges = found["histogram"]["edges"]
        histogram(axes, edges, found["histogram"]["counts"])
        ticks = {name: span for name, span in SPANS.items() if edges[0] <= span <= edges[-1]}
        axes.set_xticks(list(ticks.values()), list(ticks), rotation=35, ha="right", rotation_mode="anchor")
        axes.set(xlabel="until the user's next event", ylabel="pauses")
        axes.yaxis.set_major_formatter(lambda n, _: _short(n))
    return drawn.svg


def shares(found: Json) -> str:
    """What comes again, what is new, what has no order."""
    named = {
        "events that repeat one of their user": found["repeats"],
        "test targets that their user had before": found["test"]["repeated_targets"],
        "test targets first seen after training": found["test"]["cold_targets"],
        "test users first seen after training": found["test"]["cold_users"],
    }
    if found["ties"] is not None:
        named["events tied with another of their user"] = found["ties"]["share"]
    return bars("shares", "shares of repeats, of what is new in the test, and of ties", named)


def missing(shares: dict[str, float]) -> str:
    """How much of the tables beside the log is missing."""
    return bars("missing", "shares of missing metadata", shares)


def width(n_users: int) -> str:
    """The interval that so many test users give, on the curve of what others would."""
    with drawing("width", f"half width of the interval by test users, of which there are {n_users}") as drawn:
        axes = drawn.axes()
        users = np.geomspace(10, max(100_000, 2 * n_users), 60)
        axes.plot(users, [half_width(int(n)) for n in users], color=SERIES[0])
        if n_users >= 10:
            axes.plot(n_users, half_width(n_users), "o", color=SERIES[1], markersize=7)
            side = "left" if n_users < 3000 else "right"
            shift = 1.25 if side == "left" else 0.8
            axes.text(n_users * shift, half_width(n_users) * 1.15, f"{n_users:,} users", ha=side)
        axes.set(xscale="log", yscale="log", xlabel="test users", ylabel="half of the 95% interval")
        axes.set_yticks([0.002, 0.01, 0.05, 0.2], ["± .002", "± .01", "± .05", "± .2"])
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda n, _: _short(n))
    return drawn.svg


def _calendar(axes: Any) -> None:
    """Dates as few short words."""
    from matplotlib import dates

    locator = dates.AutoDateLocator(minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _short(n: float) -> str:
    """A count in few characters: 12,000 as 12k."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(n) >= unit:
            return f"{n / unit:g}{letter}"
    return f"{n:g}"
