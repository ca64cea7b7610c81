"""Dropout that costs a CPU little beside the layers around it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 256


class Dropout(nn.Module):
    """Zeroes a `share` of numbers in training and scales up the rest: `torch.nn.Dropout`, whose one draw of the
    generator a number takes a CPU as long as a matrix product. Here eight numbers share a draw, a byte each, so that
    the share is rounded to 256ths.

    Raises ValueError for a share outside [0, 1).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"dropout={share} is a share; give a number from 0 to below 1")
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """`x` with a share of it dropped, outside training as it is."""
        dropped = round(self.share * STEPS)
        if not self.training or self.share == 0:
            return x
        if x.device.type != "cpu" or not 0 < dropped < STEPS:
            return F.dropout(x, self.share)
        # as numbers of x's type, which hold whole ones up to 256 exactly and compare faster than bytes
        kept = random_bytes(x).to(x.dtype).ge_(dropped).mul_(STEPS / (STEPS - dropped))
        return x * kept

    def extra_repr(self) -> str:
        """What print shows."""
        return f"share={self.share}"


def random_bytes(like: Tensor) -> Tensor:
    """Bytes of the shape of a tensor, each value equally likely, from torch's generator."""
    draws = torch.empty(-(-like.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.uint8)[: like.numel()].view(like.shape)
