"""Dropout that costs a CPU little beside the layers around it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BYTE_VALUES = 256


class Dropout(nn.Module):
    """Zeroes a `share` of numbers in training and scales up the rest: `torch.nn.Dropout`, whose one draw of the
    generator a number takes a CPU as long as a matrix product. Here eight numbers share a draw, a byte each, so that
    the share is rounded to 256ths.

    Raises ValueError for a share outside [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout={p} is a share; give a number from 0 to below 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """`x` with a share of it dropped, outside training as it is."""
        threshold = round(self.p * BYTE_VALUES)
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or not 0 < threshold < BYTE_VALUES:
            return F.dropout(x, self.p)
        # as numbers of x's type, which hold whole ones up to 256 exactly and compare faster than bytes
        scale = draw_bytes(x).to(x.dtype).ge_(threshold).mul_(BYTE_VALUES / (BYTE_VALUES - threshold))
        return x * scale

    def extra_repr(self) -> str:
        """What print shows."""
        return f"p={self.p}"


def draw_bytes(like: Tensor) -> Tensor:
    """Bytes of the shape of a tensor, each value equally likely, from torch's generator."""
    draws = torch.empty(-(-like.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.uint8)[: like.numel()].view(like.shape)
