"""What an event log is like, in numbers, from the mapped arrays of a prepared dataset, without a loop over events.

N events, U users, I items.
"""

from typing import Any

import numpy as np

from recsys.apps.customers.purchases import days
from recsys.data.dataset import Dataset

Array = np.ndarray
Json = dict[str, Any]
POINTS = 400
"""of a curve at most"""
STEPS = (("day", 1), ("week", 7), ("month", 30), ("quarter", 91), ("year", 365))
TYPES = 5
"""types of events that stand alone"""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
SHARES = (0.01, 0.1, 0.2)
DAY = 86_400


def size(dataset: Dataset) -> Json:
    """How much there is, and from when to when."""
    n_items = len(np.unique(dataset.items))
    found: Json = {
        "users": dataset.n_users,
        "items": n_items,
        "events": len(dataset.items),
        "targets": len(dataset.target_positions),
        "density": len(dataset.items) / (dataset.n_users * n_items),
    }
    if dataset.timestamps is not None:
        span = np.array([dataset.timestamps.min(), dataset.timestamps.max()])
        first, last = days(span, dataset.metadata["zone"], "s").astype("datetime64[D]").astype(str).tolist()
        found |= {"first_day": first, "last_day": last}
    return found


def per_day(dataset: Dataset) -> Json | None:
    """Events a day, or a longer step where there are more days than a curve shows, by type where there are types; None
    without times. What the log's end cuts off a step of several days is left out.
    """
    if dataset.timestamps is None:
        return None
    day = days(np.asarray(dataset.timestamps), dataset.metadata["zone"], "s")
    first, n_days = int(day.min()), int(day.max() - day.min()) + 1
    name, step = next((each for each in STEPS if n_days <= POINTS * each[1]), STEPS[-1])
    n_steps = max(n_days // step, 1)
    each_day = np.bincount(day - first)
    place = (day - first) // step
    return {
        "step": name,
        "starts": [str(start) for start in np.datetime64(first, "D") + np.arange(n_steps) * step],
        "events": {
            label: np.bincount(place[mask], minlength=n_steps)[:n_steps].tolist()
            for label, mask in _types(dataset).items()
        },
        "days": n_days,
        "days_without_events": int((each_day == 0).sum()),
        "median_a_day": float(np.median(each_day)),
        "most_on_a_day": int(each_day.max()),
        "busiest_day": str(np.datetime64(first + int(each_day.argmax()), "D")),
    }


def popularity(counts: Array) -> Json:
    """How unequally events fall on items, of `counts` (I,): the Gini coefficient over the items that have any, 0 for
    all alike, and the Lorenz curve with the most popular item first.
    """
    rising = np.sort(counts[counts > 0])
    n, total = len(rising), rising.sum()
    gini = ((2 * np.arange(1, n + 1) - n - 1) * rising).sum() / (n * total)
    reached = np.cumsum(rising[::-1]) / total
    steps = np.concatenate([np.geomspace(1, n, POINTS // 4), np.linspace(1, n, POINTS // 4)])
    at = np.unique(np.round(steps).astype(int))
    return {
        "gini": float(gini),
        "top": {f"{share:.0%}": float(reached[max(round(share * n), 1) - 1]) for share in SHARES},
        "items_of_one_event": float((rising == 1).mean()),
        "items_of_under_5_events": float((rising < 5).mean()),
        "events_of_median_item": float(np.median(rising)),
        "curve": {"items": [0.0, *(at / n).tolist()], "events": [0.0, *reached[at - 1].tolist()]},
    }


def history(lengths: Array) -> Json:
    """Events a user, of `lengths` (U,), of those who have any."""
    return {**_spread(lengths[lengths > 0]), "users_of_under_3": float((lengths[lengths > 0] < 3).mean())}


def gaps(dataset: Dataset) -> Json | None:
    """Seconds from one moment of a user to the next; None without times, or where nobody has two moments."""
    if dataset.timestamps is None:
        return None
    same, gap = _steps(dataset)
    real = gap[same & (gap > 0)]
    return _spread(real) if len(real) else None


def ties(dataset: Dataset) -> Json | None:
    """The share of events at the very moment of another of their user; the share for which no basket says that they
    belong together, so that their order is an accident; whether all have one time of day. None without times.
    """
    if dataset.timestamps is None:
        return None
    same, gap = _steps(dataset)
    tied, n = same & (gap == 0), len(dataset.items)
    loose = tied & (np.diff(dataset.baskets) > 0) if dataset.has_baskets and dataset.ordered else tied
    times_of_day = np.unique(np.asarray(dataset.timestamps) % DAY)
    return {
        "share": _touched(tied) / n,
        "outside_baskets": _touched(loose) / n if not dataset.has_baskets or dataset.ordered else None,
        "whole_days": len(times_of_day) <= 2,  # two where summer has a time of its own
    }


def _steps(dataset: Dataset) -> tuple[Array, Array]:
    """(N-1,) whether an event and the next are of one user, and the seconds between them, in the order of time even
    where the split has shuffled it.
    """
    users = np.repeat(np.arange(dataset.n_users, dtype=np.int32), np.diff(dataset.offsets))
    time = np.asarray(dataset.timestamps)
    if not dataset.ordered:
        time = time[np.lexsort((time, users))]
    return users[1:] == users[:-1], np.diff(time)


def _types(dataset: Dataset) -> dict[str, Array]:
    """Masks (N,) of the most frequent types of events and of the others; of all where there are no types."""
    if dataset.events is None or dataset.event is None:
        return {"events": np.ones(len(dataset.items), dtype=bool)}
    code, shown = dataset.events[:, 0], dataset.event.values[:TYPES]
    found = {value: code == number for number, value in enumerate(shown, start=1)}
    others = (code == 0) | (code > len(shown))
    return found | ({"other types": others} if others.any() else {})


def _spread(values: Array) -> Json:
    """Mean, quantiles and a histogram of positive whole numbers, whose bins grow with them."""
    edges = np.unique(np.ceil(np.geomspace(1, int(values.max()) + 1, 25)).astype(np.int64))
    quantiles = np.quantile(values, QUANTILES).tolist()
    return {
        "mean": float(values.mean()),
        "quantiles": {f"{share:.0%}": value for share, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": {"edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()},
    }


def _touched(link: Array) -> int:
    """How many events a link (N-1,) between neighbours belongs to."""
    return int(np.count_nonzero(np.append(link, False) | np.append(False, link)))
