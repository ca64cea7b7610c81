"""Dropout that is fast on a CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

BYTE_VALUES = 256


class Dropout(nn.Module):
    """Zeroes a fraction `p` of the numbers in training and scales up the others.

    `torch.nn.Dropout` draws a random number for each, which takes a CPU as long as a matrix product. Here eight numbers
    use one draw, a byte each, so `p` is rounded to 256ths. Raises ValueError if `p` is outside [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"dropout={p} is invalid: expected a number ≥ 0 and < 1")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """`x` with dropout in training, else `x` unchanged."""
        threshold = round(self.p * BYTE_VALUES)
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or not 0 < threshold < BYTE_VALUES:
            return F.dropout(x, self.p)
        # in x's type, which holds whole numbers up to 256 exactly and compares faster than bytes
        scale = draw_bytes(x).to(x.dtype).ge_(threshold).mul_(BYTE_VALUES / (BYTE_VALUES - threshold))
        return x * scale

    @override
    def extra_repr(self) -> str:
        return f"p={self.p}"


def draw_bytes(like: Tensor) -> Tensor:
    """Random bytes in the shape of a tensor, uniform from 0 to 255, from torch's generator."""
    draws = torch.empty(-(-like.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.uint8)[: like.numel()].view(like.shape)
