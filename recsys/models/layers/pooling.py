"""Histories as one vector a query.

B users, L history slots, Q queries a user, N = L + 1 positions with the start token, H heads, D dimensions.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.errors import DataError
from recsys.models.base import Columns, Facts
from recsys.models.layers.attention_bias import AttentionBias, after_start, check_times
from recsys.models.layers.positions import gather

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
        self,
        items: Float[Tensor, "B L D"],
        events: Columns,
        request: Columns,  # noqa: ARG002 - what is asked for, not when
        ask: Int[Tensor, "B Q"],
    ) -> Float[Tensor, "B Q D"]:
        """The pooled vectors."""
        types = events.get("event")
        slots = torch.cat([self.start.expand(items.shape[0], 1, -1), items], dim=1)
        n = (ask + 1)[:, :, None]
        if self.attend is None and self.type_weight is None:
            return _upto(slots, ask) / n.sqrt()
        weight = torch.zeros_like(slots[..., :1]) if self.attend is None else self.attend(slots)
        if self.type_weight is not None and types is not None:
            weight = weight + nn.functional.pad(self.type_weight[types], (0, 0, 1, 0))
        weight = (LOUDEST * torch.tanh(weight / LOUDEST)).exp()
        return _upto(slots * weight, ask) / _upto(weight, ask) * n.sqrt()


class RecencyPooling(nn.Module):
    """Sums, one a head, over the root of their squared weights; their own sum, weighed by dimension, is pooled. A head
    weighs an item by how many events it is back: at first as exp(−slope × events), one head for each of `slopes`, then
    as it learns; with `time` also by how long ago, with `attention` by the item, with types of events by the type.
    """

    def __init__(self, facts: Facts, dim: int, slopes: Sequence[float], attention: bool, time: bool) -> None:
        super().__init__()
        n_heads, n_positions = len(slopes), facts.max_history + 1
        self.start = nn.Parameter(torch.zeros(dim))
        self.attend = nn.Linear(dim, n_heads) if attention else None
        self.type_weight = nn.Parameter(torch.zeros(facts.n_types, n_heads)) if facts.n_types else None
        self.bias = AttentionBias(n_heads, n_positions, relative_position=True, time=time)
        self.bias.distance = nn.Parameter(-torch.tensor(list(slopes))[:, None] * torch.arange(n_positions))
        self.mix = nn.Parameter(torch.full((n_heads, dim), 1 / n_heads))

    def forward(
        self, items: Float[Tensor, "B L D"], events: Columns, request: Columns, ask: Int[Tensor, "B Q"]
    ) -> Float[Tensor, "B Q D"]:
        """The pooled vectors."""
        slots = torch.cat([self.start.expand(items.shape[0], 1, -1), items], dim=1)
        if ask.shape[1] == slots.shape[1] and self._by_distance_alone:
            return gather(self._everywhere(slots), ask)
        times = {"now": request.get("timestamp"), "then": after_start(events.get("timestamp"))}
        logits = self.bias(ask, **times, n=slots.shape[1])
        if self.attend is not None:
            logits = logits + self.attend(slots).transpose(1, 2)[:, :, None]
        if self.type_weight is not None:
            of_types = nn.functional.pad(self.type_weight[events["event"][..., 0]], (0, 0, 1, 0))
            logits = logits + of_types.transpose(1, 2)[:, :, None]
        return ((_evened(logits) @ slots[:, None]) * self.mix[:, None]).sum(dim=1)

    @property
    def _by_distance_alone(self) -> bool:
        return self.attend is None and self.type_weight is None and self.bias.elapsed is None

    def _everywhere(self, slots: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """What is pooled at every position, with weights that all users share: one product for all of them."""
        n_users, n, dim = slots.shape
        weight = _evened(self.bias(torch.arange(n, device=slots.device)[None], None, None, n)[0])
        heads = weight.flatten(0, 1) @ slots.transpose(0, 1).flatten(1)
        heads = heads.view(-1, n, n_users, dim) * self.mix[:, None, None]
        return heads.sum(dim=0).transpose(0, 1)


def make_pooling(
    facts: Facts, dim: int, attention: bool, recency: Sequence[float], time_bias: bool
) -> Pooling | RecencyPooling:
    """What pools histories: by recency where that is wanted and the data keep their order. Raises DataError for
    `time_bias` where it is not.
    """
    check_times(facts, time_bias)
    if time_bias and not (recency and facts.ordered):
        raise DataError("model.time_bias=true weighs events by heads; name slopes in model.recency, on data in order")
    if recency and facts.ordered:
        return RecencyPooling(facts, dim, recency, attention, time_bias)
    return Pooling(dim, attention, facts.n_types)


def _evened(logits: Float[Tensor, "... N"]) -> Float[Tensor, "... N"]:
    """Weights whose squares add up to 1, as sums of noise are scaled."""
    weight = logits.softmax(dim=-1)
    return weight / weight.square().sum(dim=-1, keepdim=True).sqrt()


def _upto(slots: Float[Tensor, "B N D"], ask: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
    """The sums over the start token and the first `ask` slots."""
    return gather(slots.cumsum(dim=1), ask)
