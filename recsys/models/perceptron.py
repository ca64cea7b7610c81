"""Plain feed-forward layers."""

import itertools
from collections.abc import Sequence

from torch import nn


def perceptron(widths: Sequence[int], dropout: float, bias: bool = True) -> nn.Sequential:
    """Linear layers of these widths, GELU and dropout between them; `bias` is that of the last."""
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(inside, outside), nn.GELU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=bias))
