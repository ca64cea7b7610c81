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
    rankings, drafted, turns = (first, second), Drafted([], []), [0, 0]
    taken: set[str] = set()
    while len(drafted.items) < k:
        left = [next((item for item in ranking if item not in taken), None) for ranking in rankings]
        if left == [None, None]:
            break
        team = _next_team(turns, left, random)
        item = left[team]
        assert item is not None
        drafted.items.append(item)
        drafted.teams.append(team)
        taken.add(item)
        turns[team] += 1
    return drafted


def _next_team(turns: list[int], left: list[str | None], random: Random) -> int:
    if None in left:  # one ranking has nothing more to add
        return 1 - left.index(None)
    return random.randrange(2) if turns[0] == turns[1] else int(turns[1] < turns[0])


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
