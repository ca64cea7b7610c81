"""Whether a file reveals which users it was trained on: the loss-threshold attack of Yeom et al., CSF 2018.

The attacker has the file and a user's events, and looks up how probable the file finds each event after the earlier
ones; users whose events are very probable are taken for training users (members). User ids and features are left out,
so that only histories count. U users, M members and N others.
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
BATCH = 64


class AttackResult(NamedTuple):
    """How well the attack separates members from others: AUC .5 is chance, 1 is perfect; `low` and `high` bound its 95%
    bootstrap interval over users.
    """

    auc: float
    low: float
    high: float
    n_members: int
    n_others: int

    def __str__(self) -> str:
        groups = f"{self.n_members:,} members and {self.n_others:,} others"
        return f"AUC {self.auc:.3f} (0.5 is chance; 95% interval {self.low:.3f}-{self.high:.3f}), {groups}"


class MembershipAttack:
    """Measures how probable a file finds the last `n_events` events of users up to position `end` (U,) of a dataset."""

    def __init__(self, recommender: Recommender, dataset: Dataset, end: Array, n_events: int) -> None:
        sources = {name: spec["of"] for name, spec in recommender.describe()["inputs"].items() if "of" in spec}
        self.events = [name for name, source in sources.items() if source == "event"]
        self.request = [name for name, source in sources.items() if source == "request"]
        self.past = UserHistories(dataset, {*self.events, *(f"history_{name}" for name in self.request)})
        self.raw_users = [str(user) for user in dataset.raw_users().to_pylist()]
        self.recommender, self.dataset, self.end, self.n_events = recommender, dataset, end, n_events
        self.n_items = recommender.describe()["n_items"]

    def measure_familiarity(self, users: Array) -> Array:
        """Returns (U,) the mean log-probability of the users' events; NaN if the file knows none of their items."""
        bar = tqdm(users.tolist(), unit=" users", leave=False, disable=None)
        return np.array([self._mean_log_probability(user) for user in bar])

    def _mean_log_probability(self, user: int) -> float:
        pairs = list(self._make_questions(user))
        log_probabilities = []
        for start in range(0, len(pairs), BATCH):
            batch = pairs[start : start + BATCH]
            answers = self.recommender.answer([question for question, _ in batch])
            for answer, (_, item) in zip(answers, batch, strict=True):
                if item in answer.items:
                    log_probabilities.append(answer.scores[answer.items.index(item)] - logsumexp(answer.scores))
        return float(np.mean(log_probabilities)) if log_probabilities else np.nan

    def _make_questions(self, user: int) -> Iterator[tuple[CheckedRequest, str]]:
        """Yields for each event the question before it and its item."""
        first, end = int(self.dataset.offsets[user]), int(self.end[user])
        targets = self.dataset.target_positions
        positions = targets[np.searchsorted(targets, first) : np.searchsorted(targets, end)] - first
        past = self.past.read(self.raw_users[user])
        for position in positions[-self.n_events :].tolist():
            context: dict[str, Any] = {name: past[name][:position] for name in self.events}
            context |= {name: past[f"history_{name}"][position] for name in self.request if f"history_{name}" in past}
            question = self.recommender.question(past["history"][:position], None, context, self.n_items, False)
            yield question, past["history"][position]


def evaluate_attack(members: Array, others: Array, seed: int = 0, n_resamples: int = 1000) -> AttackResult:
    """Returns the attack's success from the familiarity of members (M,) and of others (N,); NaN are left out."""
    groups = [group[~np.isnan(group)] for group in (members, others)]
    rng = np.random.default_rng(seed)
    resampled = [compute_auc(*(rng.choice(group, len(group)) for group in groups)) for _ in range(n_resamples)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return AttackResult(compute_auc(*groups), float(low), float(high), len(groups[0]), len(groups[1]))


def compute_auc(members: Sequence[float] | Array, others: Sequence[float] | Array) -> float:
    """Returns how often a member's value is above another user's, ties counted half: the area under the ROC curve."""
    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    pairs = len(members) * len(others)
    return float((ranks.sum() - len(members) * (len(members) + 1) / 2) / pairs)
