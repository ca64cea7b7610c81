"""Positions that are asked: their vectors, and where they may look.

B users, N positions, Q positions that are asked, D dimensions.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def gather_positions(x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
    """The vectors at some positions."""
    return x.gather(1, positions[:, :, None].expand(-1, -1, x.shape[2]))


def make_causal_mask(positions: Int[Tensor, "B Q"], length: int) -> Bool[Tensor, "B 1 Q N"]:
    """True where a position in `ask` may look."""
    return (torch.arange(length, device=positions.device) <= positions[:, :, None])[:, None]
