"""A running mean of the history: its slow part, so that attention can learn the fast part.

B users, N positions, Q query positions, D dimensions.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.models.layers.positions import gather_positions


class Smoothing(nn.Module):
    """An exponentially decaying mean of the events up to each position, plus a learned part of the difference to it.

    Each dimension learns its own rate. It stands for the frequency branch of BSARec (Shin et al., 2024), which splits
    whole histories by Fourier transform, but works for every position at once.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.kept = nn.Parameter(torch.zeros(dim))
        """logit of the fraction of an event's weight that is left after the next event: 0.5 at first"""
        self.difference = nn.Parameter(torch.randn(dim) * 0.02)

    def forward(self, x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"] | None = None) -> Float[Tensor, "B Q D"]:
        """The smoothed vectors of all positions, or only of `positions`."""
        all_positions = torch.arange(x.shape[1], device=x.device)
        # (B Q D) the input at the query positions
        query_input = x if positions is None else gather_positions(x, positions)
        # (B Q D) the decaying mean, by weights (B N D) of a single query or (N N D) of all positions
        if positions is not None and positions.shape[1] == 1:
            mean = (self._compute_weights(positions - all_positions) * x).sum(dim=1, keepdim=True)
        else:
            mean = torch.einsum("tsd,bsd->btd", self._compute_weights(all_positions[:, None] - all_positions), x)
            mean = mean if positions is None else gather_positions(mean, positions)
        # (B Q D) plus a learned fraction, in each dimension, of the difference to the input
        return mean + self.difference**2 * (query_input - mean)

    def _compute_weights(self, distances: Int[Tensor, "Q N"]) -> Float[Tensor, "Q N D"]:
        """The weight of an event by its distance in positions: 0 for later events; those of a position add up to 1."""
        weights = (F.logsigmoid(self.kept) * distances.clamp(min=0)[..., None]).exp() * (distances >= 0)[..., None]
        return weights / weights.sum(dim=1, keepdim=True)
