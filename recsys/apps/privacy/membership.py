"""Whether a file betrays those it learned from: the loss-threshold attack of Yeom et al., CSF 2018.

U users, M members and N others. The attacker has the file and a user's events, and asks how probable the file finds
each of them after the earlier ones; whom it knows by heart is taken for a member. User ids and features are left out,
so that histories alone tell.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata
from tqdm import tqdm

from recsys.data.dataset import Dataset
from recsys.export.user_histories import UserHistories
from recsys.serving.recommender import CheckedRequest, Recommender

Array = np.ndarray


class Attack(NamedTuple):
    """How well members are told from others: .5 is by chance, 1 always; the interval is the bootstrap's over users."""

    auc: float
    low: float
    high: float
    n_members: int
    n_others: int

    def __str__(self) -> str:
        groups = f"{self.n_members:,} members against {self.n_others:,} others"
        return f"AUC {self.auc:.3f} (95 % {self.low:.3f}-{self.high:.3f}), {groups}"


class Witness:
    """Asks a file about the users of a dataset, at most their last `n_events` each; up to `end` (U,), a position."""

    def __init__(self, recommender: Recommender, dataset: Dataset, end: Array, n_events: int) -> None:
        inputs = {name: of["of"] for name, of in recommender.describe()["inputs"].items() if "of" in of}
        self.events = [name for name, of in inputs.items() if of == "event"]
        self.request = [name for name, of in inputs.items() if of == "request"]
        self.past = UserHistories(dataset, {*self.events, *(f"history_{name}" for name in self.request)})
        self.raw = [str(user) for user in dataset.raw_users().to_pylist()]
        self.recommender, self.dataset, self.end, self.n_events = recommender, dataset, end, n_events
        self.n_items = recommender.describe()["n_items"]

    def familiarity(self, users: Array) -> Array:
        """(U,) the mean log-probability of the users' own events; NaN where the file knows none of them."""
        return np.array([self._mean(user) for user in tqdm(users.tolist(), unit=" users", leave=False, disable=None)])

    def _mean(self, user: int) -> float:
        asked = list(self._questions(user))
        found = []
        for start in range(0, len(asked), 64):
            part = asked[start : start + 64]
            answers = self.recommender.answer([question for question, _ in part])
            for answer, (_, item) in zip(answers, part, strict=True):
                if item in answer.items:
                    found.append(answer.scores[answer.items.index(item)] - logsumexp(answer.scores))
        return float(np.mean(found)) if found else np.nan

    def _questions(self, user: int) -> Iterator[tuple[CheckedRequest, str]]:
        """A question before each of the events to be predicted, and its item."""
        first, end = int(self.dataset.offsets[user]), int(self.end[user])
        targets = self.dataset.target_positions
        places = targets[np.searchsorted(targets, first) : np.searchsorted(targets, end)] - first
        past = self.past.read(self.raw[user])
        for place in places[-self.n_events :].tolist():
            context: dict[str, Any] = {name: past[name][:place] for name in self.events}
            context |= {name: past[f"history_{name}"][place] for name in self.request if f"history_{name}" in past}
            question = self.recommender.question(past["history"][:place], None, context, self.n_items, False)
            yield question, past["history"][place]


def attack(members: Array, others: Array, seed: int = 0, n_resamples: int = 1000) -> Attack:
    """The attack's success from what the file thinks of members (M,) and of others (N,); NaN are left out."""
    known = [group[~np.isnan(group)] for group in (members, others)]
    rng = np.random.default_rng(seed)
    drawn = [auc(*(rng.choice(group, len(group)) for group in known)) for _ in range(n_resamples)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Attack(auc(*known), float(low), float(high), len(known[0]), len(known[1]))


def auc(members: Sequence[float] | Array, others: Sequence[float] | Array) -> float:
    """How often a member's figure is above another's, ties counted half: the area under the curve."""
    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    pairs = len(members) * len(others)
    return float((ranks.sum() - len(members) * (len(members) + 1) / 2) / pairs)
