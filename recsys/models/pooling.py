"""Histories as one vector a query, for models that ignore order.

B users, L history slots, Q queries a user, D dimensions.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

LOUDEST = 5.0
"""weights stay within exp(±5), so that a sum over a prefix needs no maximum of what comes after"""


class Pooling(nn.Module):
    """The sum over the first `ask` items and a start token, over the root of their number, as sums of noise are
    scaled; with `attention` each item has a learned weight, and with `n_types` each type of event. Covington et al.
    (2016) take the mean.
    """

    def __init__(self, dim: int, attention: bool, n_types: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(dim))
        self.attend = nn.Linear(dim, 1) if attention else None
        self.type_weight = nn.Parameter(torch.zeros(n_types)) if n_types else None

    def forward(
        self, items: Float[Tensor, "B L D"], types: Int[Tensor, "B L 1"] | None, ask: Int[Tensor, "B Q"]
    ) -> Float[Tensor, "B Q D"]:
        """The pooled vectors."""
        slots = torch.cat([self.start.expand(items.shape[0], 1, -1), items], dim=1)
        n = (ask + 1)[:, :, None]
        if self.attend is None and self.type_weight is None:
            return _upto(slots, ask) / n.sqrt()
        weight = torch.zeros_like(slots[..., :1]) if self.attend is None else self.attend(slots)
        if self.type_weight is not None and types is not None:
            weight = weight + nn.functional.pad(self.type_weight[types], (0, 0, 1, 0))
        weight = (LOUDEST * torch.tanh(weight / LOUDEST)).exp()
        return _upto(slots * weight, ask) / _upto(weight, ask) * n.sqrt()


def _upto(slots: Float[Tensor, "B N D"], ask: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
    """The sums over the start token and the first `ask` slots."""
    sums = slots.cumsum(dim=1)
    return sums.gather(1, ask[:, :, None].expand(-1, -1, slots.shape[2]))
