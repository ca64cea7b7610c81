"""Query positions: their vectors, and the positions they may attend to.

B users, N positions, Q query positions, D dimensions.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def gather_positions(x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
    """The vectors at the query positions."""
    return x.gather(1, positions[:, :, None].expand(-1, -1, x.shape[2]))


def make_causal_mask(positions: Int[Tensor, "B Q"], length: int) -> Bool[Tensor, "B 1 Q N"]:
    """True where a query position may attend to a position: up to its own."""
    return (torch.arange(length, device=positions.device) <= positions[:, :, None])[:, None]
