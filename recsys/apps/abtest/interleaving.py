"""Two rankings in one list: clicks on it compare them with far fewer customers than a split would take.

Team-draft interleaving of Radlinski, Kurup and Joachims, CIKM 2008.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class InterleavedList(NamedTuple):
    """A list, and for each of its items the ranking (0 or 1) that it comes from."""

    items: list[str]
    teams: list[int]


class ClickPreference(NamedTuple):
    """Of the units that clicked one ranking more often, the fraction that preferred the second, with its interval."""

    fraction: float
    low: float
    high: float
    p_value: float
    n_units: int
    """units with a preference"""


def interleave_rankings(first: Sequence[str], second: Sequence[str], k: int, random: Random) -> InterleavedList:
    """Up to `k` items. The ranking with fewer turns adds its best remaining item; a coin decides between equals."""
    items: list[str] = []
    teams: list[int] = []
    turns = [0, 0]
    taken: set[str] = set()
    # each iterator stops at its ranking's first item that is not in the list yet, and never has to go back
    remaining = [(item for item in ranking if item not in taken) for ranking in (first, second)]
    while len(items) < k:
        team = random.randrange(2) if turns[0] == turns[1] else int(turns[1] < turns[0])
        item = next(remaining[team], None)
        if item is None:  # this ranking is used up: the other one takes all further turns
            team = 1 - team
            item = next(remaining[team], None)
        if item is None:
            break
        items.append(item)
        teams.append(team)
        taken.add(item)
        turns[team] += 1
    return InterleavedList(items, teams)


def estimate_preference(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> ClickPreference:
    """The preference from each unit's clicks on items of either ranking, ties left out; interval and test are exact.

    Raises ValueError if no unit preferred either.
    """
    from scipy.stats import binomtest

    signs = np.sign(np.asarray(second, float) - np.asarray(first, float))
    n_units = int(np.count_nonzero(signs))
    if not n_units:
        raise ValueError("no unit clicked one ranking more than the other; wait for more clicks")
    test = binomtest(int((signs > 0).sum()), n_units)
    low, high = test.proportion_ci(level)
    return ClickPreference(float(test.statistic), float(low), float(high), float(test.pvalue), n_units)
