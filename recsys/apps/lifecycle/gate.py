"""Whether a challenger may take the champion's place: what it must not lose, one line each.

U users.
"""

from dataclasses import dataclass

import numpy as np

from recsys.apps.lifecycle.rank_files import Ranked, milliseconds, overlap
from recsys.data.dataset import Dataset
from recsys.evaluation.metrics.stats import paired_difference

LENGTHS = {"up to 5 events": (0, 5), "6 to 20 events": (6, 20), "over 20 events": (21, np.inf)}


@dataclass(frozen=True)
class Limits:
    """The `limits` of configs/refresh.yaml."""

    margin: float = 0.01
    coverage: float = 0.8
    latency: float = 1.5
    segment: float = 0.1
    smallest: int = 20


@dataclass(frozen=True)
class Line:
    """One thing that was looked at, and whether the challenger may be promoted for all of it."""

    name: str
    holds: bool
    said: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.holds else 'FAIL'} {self.name}: {self.said}"


def judged(champion: Ranked, challenger: Ranked, dataset: Dataset, limits: Limits) -> list[Line]:
    """What was found on the same users of the newest window."""
    assert (champion.users == challenger.users).all(), "the files were ranked for different users"
    return [
        _better(champion, challenger, limits),
        _coverage(champion, challenger, limits),
        _latency(champion, challenger, dataset, limits),
        _parity(challenger),
        _segments(champion, challenger, dataset, limits),
        Line("overlap", True, f"{overlap(champion.lists, challenger.lists):.3f} of the champion's lists stay"),
    ]


def _better(champion: Ranked, challenger: Ranked, limits: Limits) -> Line:
    """By a paired bootstrap over users; the bound is one-sided, at 95 %."""
    name = _ndcg(champion)
    before, after = (ranked.ranking.per_user[name] for ranked in (champion, challenger))
    mean = max(float(before.mean()), 1e-9)
    found = paired_difference(after, before, level=0.9)
    said = (
        f"{before.mean():.4f} to {after.mean():.4f}, {found.difference / mean:+.1%} on {len(before):,} users, "
        f"at least {found.low / mean:+.1%} (wanted: over {-limits.margin:.1%})"
    )
    return Line(name, found.low / mean > -limits.margin, said)


def _coverage(champion: Ranked, challenger: Ranked, limits: Limits) -> Line:
    name = f"coverage@{champion.ranking.k}"
    before, after = champion.ranking.metrics[name], challenger.ranking.metrics[name]
    said = f"{before:.3f} to {after:.3f} (wanted: {limits.coverage:g} of it)"
    return Line(name, after >= limits.coverage * before, said)


def _latency(champion: Ranked, challenger: Ranked, dataset: Dataset, limits: Limits) -> Line:
    before, after = milliseconds([champion.recommender, challenger.recommender], dataset, champion.users)
    said = f"{before:.2f} to {after:.2f} ms an answer (wanted: at most {limits.latency:g} times)"
    return Line("latency", after <= limits.latency * before, said)


def _parity(challenger: Ranked) -> Line:
    """Export leaves no file that fails this."""
    said = challenger.recommender.describe()["precision"]
    requests = f"{said['requests_checked']} requests as the model answers them"
    return Line("parity", True, f"{requests}, top 10 overlap {said['overlap@10']:.4f}")


def _segments(champion: Ranked, challenger: Ranked, dataset: Dataset, limits: Limits) -> Line:
    """The segment that loses most; it fails only where chance does not explain it."""
    name, worst = _ndcg(champion), Line("worst segment", True, "none is large enough")
    lowest = np.inf
    for segment, users in segments(dataset, champion.users).items():
        if users.sum() < limits.smallest:
            continue
        before, after = (ranked.ranking.per_user[name][users] for ranked in (champion, challenger))
        found, mean = paired_difference(after, before), max(float(before.mean()), 1e-9)
        if found.difference / mean < lowest:
            lowest = found.difference / mean
            said = f"{segment}, {lowest:+.1%} on {len(before):,} users, at most {found.high / mean:+.1%}"
            wanted = f"(wanted: over {-limits.segment:.1%})"
            worst = Line("worst segment", found.high / mean > -limits.segment, f"{said} {wanted}")
    return worst


def segments(dataset: Dataset, users: np.ndarray) -> dict[str, np.ndarray]:
    """(U,) masks of the users in each segment: by length of history, and by every user column under
    `data.features.segments`.
    """
    lengths = (dataset.bounds[:, 1] - dataset.offsets[:-1])[users]
    found = {name: (lengths >= low) & (lengths <= high) for name, (low, high) in LENGTHS.items()}
    for column, (values, codes) in dataset.segments().items():
        if column.startswith("user."):
            own = codes[users + 1]
            found |= {f"{column}={value}": (own == code).any(axis=1) for code, value in enumerate(values)}
    return found


def _ndcg(ranked: Ranked) -> str:
    return f"ndcg@{ranked.ranking.k}"
