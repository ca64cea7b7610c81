"""Two rankings in one list: whose items are clicked more, with far fewer customers than a split of them takes.

Team-draft interleaving of Radlinski, Kurup and Joachims, CIKM 2008.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Drafted(NamedTuple):
    """A list, and for each of its items the ranking (0 or 1) it comes from."""

    items: list[str]
    teams: list[int]


class Preference(NamedTuple):
    """Among units that clicked one ranking more than the other, the share that preferred the second."""

    share: float
    low: float
    high: float
    p_value: float
    decided: int
    """units with a preference"""


def team_draft(first: Sequence[str], second: Sequence[str], k: int, random: Random) -> Drafted:
    """Up to `k` items: the ranking with fewer turns, or by a coin either, adds its best item not yet there."""
    drafted, turns = Drafted([], []), [0, 0]
    taken: set[str] = set()
    # an iterator stops at the first item that is not there yet, and never has to go back
    left = [(item for item in ranking if item not in taken) for ranking in (first, second)]
    while len(drafted.items) < k:
        team = random.randrange(2) if turns[0] == turns[1] else int(turns[1] < turns[0])
        item = next(left[team], None)
        if item is None:  # the other one has its turns until it is empty too
            team = 1 - team
            item = next(left[team], None)
        if item is None:
            break
        drafted.items.append(item)
        drafted.teams.append(team)
        taken.add(item)
        turns[team] += 1
    return drafted


def preference(first: npt.ArrayLike, second: npt.ArrayLike, level: float = 0.95) -> Preference:
    """From each unit's clicks on items of either ranking; ties are left out, the interval and test are exact.

    Raises ValueError where no unit preferred either.
    """
    from scipy.stats import binomtest

    signs = np.sign(np.asarray(second, float) - np.asarray(first, float))
    decided = int(np.count_nonzero(signs))
    if not decided:
        raise ValueError("no unit clicked one ranking more than the other; wait for clicks")
    found = binomtest(int((signs > 0).sum()), decided)
    low, high = found.proportion_ci(level)
    return Preference(float(found.statistic), float(low), float(high), float(found.pvalue), decided)
