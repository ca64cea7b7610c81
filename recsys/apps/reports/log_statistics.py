"""Statistics of an event log, from the arrays of a prepared dataset and without a loop over events.

N events, U users, I items. Each function returns a section of the JSON file of `recsys report data`.
"""

from typing import Any

import numpy as np

from recsys.apps.customers.purchases import convert_to_days
from recsys.data.dataset import Dataset

Array = np.ndarray
Json = dict[str, Any]
MAX_POINTS = 400
"""points of a curve"""
STEPS = (("day", 1), ("week", 7), ("month", 30), ("quarter", 91), ("year", 365))
MAX_TYPES = 5
"""types of events with a curve of their own"""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
TOP_FRACTIONS = (0.01, 0.1, 0.2)
DAY = 86_400


def describe_log_size(dataset: Dataset) -> Json:
    """Numbers of users, items, events and targets, the density, and the first and last day where there are times."""
    n_items = len(np.unique(dataset.items))
    size: Json = {
        "users": dataset.n_users,
        "items": n_items,
        "events": len(dataset.items),
        "targets": len(dataset.target_positions),
        "density": len(dataset.items) / (dataset.n_users * n_items),
    }
    if dataset.timestamps is not None:
        span = np.array([dataset.timestamps.min(), dataset.timestamps.max()])
        days = convert_to_days(span, dataset.metadata["zone"], "s")
        size["first_day"], size["last_day"] = days.astype("datetime64[D]").astype(str).tolist()
    return size


def describe_events_over_time(dataset: Dataset) -> Json | None:
    """Events per day and type; None without times. Logs of more than 400 days are counted in longer steps, and a last
    step that the log does not fill is left out.
    """
    if dataset.timestamps is None:
        return None
    days = convert_to_days(np.asarray(dataset.timestamps), dataset.metadata["zone"], "s")
    first, n_days = int(days.min()), int(days.max() - days.min()) + 1
    step_name, step = next(((name, length) for name, length in STEPS if n_days <= MAX_POINTS * length), STEPS[-1])
    n_steps = max(n_days // step, 1)
    step_numbers = (days - first) // step
    events_per_day = np.bincount(days - first)
    return {
        "step": step_name,
        "starts": [str(start) for start in np.datetime64(first, "D") + np.arange(n_steps) * step],
        "events": {
            label: np.bincount(step_numbers[mask], minlength=n_steps)[:n_steps].tolist()
            for label, mask in _mask_types(dataset).items()
        },
        "days": n_days,
        "days_without_events": int((events_per_day == 0).sum()),
        "median_a_day": float(np.median(events_per_day)),
        "most_on_a_day": int(events_per_day.max()),
        "busiest_day": str(np.datetime64(first + int(events_per_day.argmax()), "D")),
    }


def describe_item_popularity(counts: Array) -> Json:
    """How unequally events are distributed over items, from `counts` (I,): the Gini coefficient over the items with
    events (0: all alike), and the Lorenz curve that starts with the most popular item.
    """
    ascending = np.sort(counts[counts > 0])
    n, total = len(ascending), ascending.sum()
    gini = ((2 * np.arange(1, n + 1) - n - 1) * ascending).sum() / (n * total)
    cumulative = np.cumsum(ascending[::-1]) / total
    points = np.concatenate([np.geomspace(1, n, MAX_POINTS // 4), np.linspace(1, n, MAX_POINTS // 4)])
    ranks = np.unique(np.round(points).astype(int))
    return {
        "gini": float(gini),
        "top": {f"{top:.0%}": float(cumulative[max(round(top * n), 1) - 1]) for top in TOP_FRACTIONS},
        "items_of_one_event": float((ascending == 1).mean()),
        "items_of_under_5_events": float((ascending < 5).mean()),
        "events_of_median_item": float(np.median(ascending)),
        "curve": {"items": [0.0, *(ranks / n).tolist()], "events": [0.0, *cumulative[ranks - 1].tolist()]},
    }


def describe_history_lengths(lengths: Array) -> Json:
    """The distribution of events per user, from `lengths` (U,), over the users who have any."""
    positive = lengths[lengths > 0]
    return {**_describe_distribution(positive), "users_of_under_3": float((positive < 3).mean())}


def describe_pauses(dataset: Dataset) -> Json | None:
    """The distribution of the seconds from one timestamp of a user to the next; None without times, or where no user
    has two timestamps.
    """
    if dataset.timestamps is None:
        return None
    same_user, seconds = _differences(dataset)
    pauses = seconds[same_user & (seconds > 0)]
    return _describe_distribution(pauses) if len(pauses) else None


def describe_ties(dataset: Dataset) -> Json | None:
    """The share of events with the timestamp of another event of their user, the share of those that no basket holds
    together (so that their order is arbitrary), and whether all times have one time of day; None without times.
    """
    if dataset.timestamps is None:
        return None
    same_user, seconds = _differences(dataset)
    n, tied = len(dataset.items), same_user & (seconds == 0)
    loose = tied & (np.diff(dataset.baskets) > 0) if dataset.has_baskets and dataset.ordered else tied
    times_of_day = np.unique(np.asarray(dataset.timestamps) % DAY)
    return {
        "share": _count_linked(tied) / n,
        "outside_baskets": _count_linked(loose) / n if not dataset.has_baskets or dataset.ordered else None,
        "whole_days": len(times_of_day) <= 2,  # two where there is daylight saving time
    }


def _differences(dataset: Dataset) -> tuple[Array, Array]:
    """(N-1,) whether an event and the next have the same user, and the seconds between them, in the order of time even
    where the split has shuffled the events.
    """
    users = np.repeat(np.arange(dataset.n_users, dtype=np.int32), np.diff(dataset.offsets))
    times = np.asarray(dataset.timestamps)
    if not dataset.ordered:
        times = times[np.lexsort((times, users))]
    return users[1:] == users[:-1], np.diff(times)


def _mask_types(dataset: Dataset) -> dict[str, Array]:
    """Masks (N,) of the most frequent types of events and of all others; one mask where there are no types."""
    if dataset.events is None or dataset.event is None:
        return {"events": np.ones(len(dataset.items), dtype=bool)}
    codes, types = dataset.events[:, 0], dataset.event.values[:MAX_TYPES]
    masks = {name: codes == number for number, name in enumerate(types, start=1)}
    others = (codes == 0) | (codes > len(types))
    return masks | ({"other types": others} if others.any() else {})


def _describe_distribution(values: Array) -> Json:
    """Mean, quantiles and a histogram of positive whole numbers; the bins grow with the numbers."""
    edges = np.unique(np.ceil(np.geomspace(1, int(values.max()) + 1, 25)).astype(np.int64))
    quantiles = np.quantile(values, QUANTILES).tolist()
    return {
        "mean": float(values.mean()),
        "quantiles": {f"{level:.0%}": value for level, value in zip(QUANTILES, quantiles, strict=True)},
        "histogram": {"edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()},
    }


def _count_linked(links: Array) -> int:
    """How many events belong to a link (N-1,) between neighbours."""
    return int(np.count_nonzero(np.append(links, False) | np.append(False, links)))
