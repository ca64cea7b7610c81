"""Names of segments, by rules on recency, frequency and money, and the values that a segment prefers.

K segments, C customers, V values of a column.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from recsys.data.preparation.segments import OTHER, UNKNOWN, encode_segments

Array = np.ndarray
STRONG = 0.5
"""standard deviations from the mean of all customers that earn a word in the name"""

MIN_LIFT = 1.1


def name_segments(
    rfm: Array, labels: Array, has_money: bool, favourites: Sequence[str], taken: Sequence[str] = ()
) -> list[str]:
    """A name for each segment, such as "lapsed big spenders", from the mean log RFM (C, 3) of its customers.

    Where names would be the same, each gets the segment's entry of `favourites`, or else its typical spend. No name is
    in `taken`.
    """
    k = int(labels.max()) + 1
    means = np.stack([rfm[labels == segment].mean(axis=0) for segment in range(k)])
    deviation = np.where(rfm.std(axis=0) > 0, rfm.std(axis=0), 1)
    z_scores = (means - rfm.mean(axis=0)) / deviation
    short_names = [_name_by_rfm(z, mean, has_money) for z, mean in zip(z_scores, means, strict=True)]
    names: list[str] = []
    for short, favourite, mean in zip(short_names, favourites, means, strict=True):
        typical = f"{short}, about {np.expm1(mean[2]):,.0f} {'spent' if has_money else 'bought'}"
        options = [short] if short_names.count(short) == 1 else [f"{short} with {favourite}"] * bool(favourite)
        options += [typical, *(f"{typical} ({n})" for n in range(2, k + 3))]
        names.append(next(option for option in options if option not in (*names, *taken)))
    return names


def _name_by_rfm(z: Array, mean: Array, has_money: bool) -> str:
    """A name from recency, frequency and money: their z-scores `z` and their mean logs `mean`."""
    recency = "recent" if z[0] < -STRONG else "lapsed" if z[0] > STRONG else ""
    frequency = "one-time" if mean[1] < np.log(1.2) else "frequent" if z[1] > STRONG and mean[1] > np.log(3) else ""
    money = "big" if z[2] > STRONG else "small" if z[2] < -STRONG else "average"
    return " ".join(filter(None, (recency, frequency, money, "spenders" if has_money else "buyers")))


def find_favourites(
    column: pd.Series, rows: Array, labels: Array, customers: Array, k: int, min_customers: int, top: int = 3
) -> list[list[tuple[str, float]]]:
    """For each segment the values of a column with the highest lift, and that lift: the share of a value in the segment
    ÷ its share overall, both among known values.

    Occurrence n is in row `rows[n]` of the table, of customer `customers[n]` in segment `labels[n]`. Values of fewer
    than `min_customers` customers of the segment, and those with a lift below MIN_LIFT, are left out.
    """
    values, codes = encode_segments(column, "|")
    counts, n_customers = _count_values(codes[rows], labels, customers, k, len(values))
    within = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    overall = counts.sum(axis=0) / max(counts.sum(), 1)
    lift = np.divide(within, overall, out=np.zeros_like(within), where=overall > 0)
    eligible = (n_customers >= min_customers) & (lift >= MIN_LIFT) & ~np.isin(values, (UNKNOWN, OTHER))
    favourites = []
    for segment in range(k):
        ranking = np.argsort(-lift[segment], kind="stable")
        best = [code for code in ranking if eligible[segment, code]][:top]
        favourites.append([(values[code], float(lift[segment, code])) for code in best])
    return favourites


def _count_values(cells: Array, labels: Array, customers: Array, k: int, n_values: int) -> tuple[Array, Array]:
    """(K, V) occurrences, of which unknown ones (code 0) count 0, and (K, V) distinct customers, from the codes of each
    occurrence, padded with 0 after the first.
    """
    counts, n_customers = np.zeros((k, n_values)), np.zeros((k, n_values))
    for position in range(cells.shape[1]):
        filled = (cells[:, position] > 0) if position else np.ones(len(cells), dtype=bool)
        np.add.at(counts, (labels[filled], cells[filled, position]), 1)
        triples = np.unique(np.stack([labels[filled], cells[filled, position], customers[filled]]), axis=1)
        np.add.at(n_customers, (triples[0], triples[1]), 1)
    counts[:, 0] = 0
    return counts, n_customers
