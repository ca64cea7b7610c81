"""Words for segments: names by rules on what their customers are like, and the values they favour.

K segments, C customers.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from recsys.data.preparation.segments import OTHER, UNKNOWN, encode_segments

Array = np.ndarray
STRONG = 0.5
"""deviations from the mean of all customers that make a word"""

NOTABLE = 1.1
"""the lift from which a value stands out"""


def names(
    rfm: Array, labels: Array, has_money: bool, favourites: Sequence[str], taken: Sequence[str] = ()
) -> list[str]:
    """A name for each segment, such as "lapsed big spenders", from the mean of its customers' log RFM (C, 3).

    Names that would be the same get what the segment favours, else what its customers typically spend; none is one of
    `taken`.
    """
    k = int(labels.max()) + 1
    means = np.stack([rfm[labels == one].mean(axis=0) for one in range(k)])
    deviation = np.where(rfm.std(axis=0) > 0, rfm.std(axis=0), 1)
    plain = [_plain(z, mean, has_money) for z, mean in zip((means - rfm.mean(axis=0)) / deviation, means, strict=True)]
    found: list[str] = []
    for one, name in enumerate(plain):
        typical = f"{name}, about {np.expm1(means[one, 2]):,.0f} {'spent' if has_money else 'bought'}"
        options = [name] if plain.count(name) == 1 else [f"{name} with {favourites[one]}"] * bool(favourites[one])
        options += [typical, *(f"{typical} ({n})" for n in range(2, k + 3))]
        found.append(next(option for option in options if option not in (*found, *taken)))
    return found


def _plain(z: Array, mean: Array, has_money: bool) -> str:
    """Words for recency, frequency and money, in deviations `z` and as the logs themselves."""
    recency = "recent" if z[0] < -STRONG else "lapsed" if z[0] > STRONG else ""
    frequency = "one-time" if mean[1] < np.log(1.2) else "frequent" if z[1] > STRONG and mean[1] > np.log(3) else ""
    money = "big" if z[2] > STRONG else "small" if z[2] < -STRONG else "average"
    return " ".join(filter(None, (recency, frequency, money, "spenders" if has_money else "buyers")))


def favourites(
    column: pd.Series, rows: Array, labels: Array, people: Array, k: int, fewest: int, top: int = 3
) -> list[list[tuple[str, float]]]:
    """For each segment the values of a column that stand out, with their lift: share in the segment ÷ share overall,
    both of what is known.

    An occurrence is the row `rows` of the table, of a customer `people` who is in segment `labels`. Values of fewer
    than `fewest` customers of the segment, and those that do not stand out, are left out.
    """
    values, codes = encode_segments(column, "|")
    cells = codes[rows]
    counts, customers = np.zeros((k, len(values))), np.zeros((k, len(values)))
    for place in range(cells.shape[1]):
        real = (cells[:, place] > 0) if place else np.ones(len(cells), dtype=bool)
        np.add.at(counts, (labels[real], cells[real, place]), 1)
        who = np.unique(np.stack([labels[real], cells[real, place], people[real]]), axis=1)
        np.add.at(customers, (who[0], who[1]), 1)
    counts[:, 0] = 0  # of nobody whose value is unknown
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    overall = counts.sum(axis=0) / max(counts.sum(), 1)
    lift = np.divide(share, overall, out=np.zeros_like(share), where=overall > 0)
    shown = (customers >= fewest) & (lift >= NOTABLE) & ~np.isin(values, (UNKNOWN, OTHER))
    found = []
    for segment in range(k):
        best = [code for code in np.argsort(-lift[segment], kind="stable") if shown[segment, code]][:top]
        found.append([(values[code], float(lift[segment, code])) for code in best])
    return found
