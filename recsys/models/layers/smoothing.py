"""What is slow in a history: a running mean of its events, beside which attention may look for what is not.

B users, N positions, Q positions that are asked, D dimensions.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.models.layers.positions import gather_positions


class Smoothing(nn.Module):
    """A mean of the events up to each position that forgets, in each dimension at a learned rate, plus a learned share
    of how the event itself differs from it. The frequency branch of BSARec (Shin et al., 2024), which splits whole
    histories by Fourier transform, for every position at once.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.kept = nn.Parameter(torch.zeros(dim))
        """of the weight of an event when another one follows, before the sigmoid: at first half"""
        self.difference = nn.Parameter(torch.randn(dim) * 0.02)

    def forward(self, x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"] | None = None) -> Float[Tensor, "B Q D"]:
        """The smoothed vectors of all positions, or of those in `ask`."""
        all_positions = torch.arange(x.shape[1], device=x.device)
        query_input = x if positions is None else gather_positions(x, positions)
        if positions is not None and positions.shape[1] == 1:
            mean = (self._compute_weights(positions - all_positions) * x).sum(dim=1, keepdim=True)
        else:
            mean = torch.einsum("tsd,bsd->btd", self._compute_weights(all_positions[:, None] - all_positions), x)
            mean = mean if positions is None else gather_positions(mean, positions)
        return mean + self.difference**2 * (query_input - mean)

    def _compute_weights(self, distances: Int[Tensor, "Q N"]) -> Float[Tensor, "Q N D"]:
        """Of events so many positions back, none for later ones; those of a position sum to one."""
        weights = (F.logsigmoid(self.kept) * distances.clamp(min=0)[..., None]).exp() * (distances >= 0)[..., None]
        return weights / weights.sum(dim=1, keepdim=True)
