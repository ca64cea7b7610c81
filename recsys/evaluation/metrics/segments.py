"""Ranking metrics by segment: segments of users, or of the items that are targets.

B users, T targets per user (padded), N rows of a user or item table, W values per row at most, S segments.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torchmetrics import Metric

from recsys.evaluation.metrics.ranking import RANKING, Ranks


class SegmentedRanking(Metric):
    """Every ranking metric at every k for each segment: the mean over its users, where only targets in it count.

    `codes` (N, W) are the segments of each row, padded with 0; a row of zeros belongs to segment 0. `names` are the
    names of the S segments. Raises ValueError if a code has no name.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    codes: Tensor
    sums: Tensor
    n_users: Tensor
    n_targets: Tensor

    def __init__(self, names: Sequence[str], codes: Int[Tensor, "N W"], ks: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if codes.min() < 0 or codes.max() >= len(names):
            raise ValueError(f"codes run from {codes.min()} to {codes.max()}; {len(names)} segments are named")
        self.names = tuple(names)
        self.metrics = {f"{metric.short_name}@{k}": (metric.function, k) for metric in RANKING for k in ks}
        self.register_buffer("codes", codes, persistent=False)
        self.add_state("sums", torch.zeros(len(names), len(self.metrics), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("n_users", torch.zeros(len(names), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("n_targets", torch.zeros(len(names), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, ranks: Ranks, rows: Int[Tensor, "B T"]) -> None:
        """Add B users by the ranks of their targets; `rows` are the table rows of the users or of the targets."""
        member = segment_membership(self.codes[rows], len(self.names)) & (ranks > 0)[:, :, None]
        user, segment = member.any(dim=1).nonzero(as_tuple=True)
        segment_ranks = ranks[user] * member[user, :, segment]
        values = torch.stack([function(segment_ranks, k) for function, k in self.metrics.values()], dim=1)
        self.sums.index_add_(0, segment, values.double())
        self.n_users += torch.bincount(segment, minlength=len(self.names))
        self.n_targets += member.sum(dim=(0, 1))

    def compute(self) -> dict[str, dict[str, float]]:
        """Metrics, `n_users` and `n_targets` of each segment that has a target; segment 0 is last."""
        order = [*range(1, len(self.names)), 0]
        return {self.names[segment]: self._segment(segment) for segment in order if self.n_users[segment] > 0}

    def _segment(self, segment: int) -> dict[str, float]:
        means = (self.sums[segment] / self.n_users[segment]).tolist()
        counts = {"n_users": int(self.n_users[segment]), "n_targets": int(self.n_targets[segment])}
        return {**dict(zip(self.metrics, means, strict=True)), **counts}


def segment_membership(codes: Int[Tensor, "*rows W"], n_segments: int) -> Bool[Tensor, "*rows S"]:
    """The segments of each row: one per value, or segment 0 if it has none."""
    member = (codes[..., None] == torch.arange(n_segments, device=codes.device)).any(dim=-2)
    member[..., 0] = (codes == 0).all(dim=-1)
    return member
