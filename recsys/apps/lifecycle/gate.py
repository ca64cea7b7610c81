"""Whether a challenger may replace the champion: one check per thing that must not get worse.

U users.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.apps.lifecycle.rank_files import FileRanking, compute_list_overlap, time_answers
from recsys.data.dataset import Dataset
from recsys.evaluation.metrics.stats import paired_difference

LENGTHS = {"up to 5 events": (0, 5), "6 to 20 events": (6, 20), "over 20 events": (21, np.inf)}


@dataclass(frozen=True)
class PromotionLimits:
    """The `limits` of configs/refresh.yaml."""

    margin: float = 0.01
    coverage: float = 0.8
    latency: float = 1.5
    segment: float = 0.1
    smallest: int = 20


@dataclass(frozen=True)
class GateCheck:
    """One check of a challenger; it is promoted only if all of them pass."""

    name: str
    passed: bool
    message: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'} {self.name}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        """Returns the check as refresh.json stores it."""
        return {"name": self.name, "holds": self.passed, "said": self.message}


def check_challenger(
    champion: FileRanking, challenger: FileRanking, dataset: Dataset, limits: PromotionLimits
) -> list[GateCheck]:
    """Returns all checks, made on the same users of the newest window."""
    assert (champion.users == challenger.users).all(), "the files were ranked for different users"
    overlap = compute_list_overlap(champion.lists, challenger.lists)
    return [
        _check_ndcg(champion, challenger, limits),
        _check_coverage(champion, challenger, limits),
        _check_latency(champion, challenger, dataset, limits),
        _check_parity(challenger),
        _check_segments(champion, challenger, dataset, limits),
        GateCheck("overlap", True, f"{overlap:.1%} of the champion's recommendations stay"),
    ]


def _check_ndcg(champion: FileRanking, challenger: FileRanking, limits: PromotionLimits) -> GateCheck:
    """Compares by a paired bootstrap over users; the lower bound is one-sided, at 95%."""
    name = _ndcg_name(champion)
    before, after = (file.ranking.per_user[name] for file in (champion, challenger))
    mean = max(float(before.mean()), 1e-9)
    change = paired_difference(after, before, level=0.9)
    message = (
        f"{before.mean():.4f} to {after.mean():.4f}, {change.difference / mean:+.1%} on {len(before):,} users, "
        f"at least {change.low / mean:+.1%} (required: over {-limits.margin:.1%})"
    )
    return GateCheck(name, change.low / mean > -limits.margin, message)


def _check_coverage(champion: FileRanking, challenger: FileRanking, limits: PromotionLimits) -> GateCheck:
    name = f"coverage@{champion.ranking.k}"
    before, after = champion.ranking.metrics[name], challenger.ranking.metrics[name]
    message = f"{before:.3f} to {after:.3f} (required: at least {limits.coverage:g} times the champion's)"
    return GateCheck(name, after >= limits.coverage * before, message)


def _check_latency(
    champion: FileRanking, challenger: FileRanking, dataset: Dataset, limits: PromotionLimits
) -> GateCheck:
    before, after = time_answers([champion.recommender, challenger.recommender], dataset, champion.users)
    message = f"{before:.2f} to {after:.2f} ms per answer (required: at most {limits.latency:g} times the champion's)"
    return GateCheck("latency", after <= limits.latency * before, message)


def _check_parity(challenger: FileRanking) -> GateCheck:
    """Always passes: export leaves no file whose answers differ from the model's."""
    precision = challenger.recommender.describe()["precision"]
    requests = f"{precision['requests_checked']} requests as the model answers them"
    return GateCheck("parity", True, f"{requests}, top 10 overlap {precision['overlap@10']:.4f}")


def _check_segments(
    champion: FileRanking, challenger: FileRanking, dataset: Dataset, limits: PromotionLimits
) -> GateCheck:
    """Reports the segment that loses most; fails only if chance does not explain the loss."""
    name, worst = _ndcg_name(champion), GateCheck("worst segment", True, "none is large enough")
    lowest = np.inf
    for segment, mask in build_segment_masks(dataset, champion.users).items():
        if mask.sum() < limits.smallest:
            continue
        before, after = (file.ranking.per_user[name][mask] for file in (champion, challenger))
        change, mean = paired_difference(after, before), max(float(before.mean()), 1e-9)
        if change.difference / mean < lowest:
            lowest = change.difference / mean
            loss = f"{segment}, {lowest:+.1%} on {len(before):,} users, at most {change.high / mean:+.1%}"
            required = f"(required: over {-limits.segment:.1%})"
            worst = GateCheck("worst segment", change.high / mean > -limits.segment, f"{loss} {required}")
    return worst


def build_segment_masks(dataset: Dataset, users: np.ndarray) -> dict[str, np.ndarray]:
    """Returns (U,) masks of the users in each segment: by history length, and by each user column under
    `data.features.segments`.
    """
    lengths = (dataset.bounds[:, 1] - dataset.offsets[:-1])[users]
    masks = {name: (lengths >= low) & (lengths <= high) for name, (low, high) in LENGTHS.items()}
    for column, (values, codes) in dataset.segments().items():
        if column.startswith("user."):
            user_codes = codes[users + 1]
            masks |= {f"{column}={value}": (user_codes == code).any(axis=1) for code, value in enumerate(values)}
    return masks


def _ndcg_name(file: FileRanking) -> str:
    return f"ndcg@{file.ranking.k}"
