"""Pooling: one vector of the history for each query.

B users, L history slots, Q queries per user, N = L + 1 positions with the start token, H heads, D dimensions.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.errors import DataError
from recsys.models.base import DataSpec, ModelInputs
from recsys.models.layers.attention_bias import AttentionBias, check_time_bias, prepend_start
from recsys.models.layers.positions import gather_positions

MAX_LOGIT = 5.0
"""weights stay within exp(±5), so that a running sum needs no maximum over the whole history"""


class Pooling(nn.Module):
    """The sum of the visible items and a start token, divided by the square root of their number.

    That scale suits sums of independent vectors; Covington et al. (2016) take the mean. Items get learned weights by
    their vectors (`attention`) and by their types of event (`n_types`).
    """

    def __init__(self, dim: int, attention: bool, n_types: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(dim))
        self.attend = nn.Linear(dim, 1) if attention else None
        self.type_weight = nn.Parameter(torch.zeros(n_types)) if n_types else None

    def forward(self, items: Float[Tensor, "B L D"], inputs: ModelInputs) -> Float[Tensor, "B Q D"]:
        """The pooled vectors."""
        positions, types = inputs.query_positions, inputs.events.get("event")
        # (B N D) the start token in front of the items, (B Q 1) how many of these each query sees
        slots = torch.cat([self.start.expand(items.shape[0], 1, -1), items], dim=1)
        n_slots = (positions + 1)[:, :, None]
        # (B Q D) without weights: the sum, scaled
        if self.attend is None and self.type_weight is None:
            return _sum_up_to(slots, positions) / n_slots.sqrt()
        # (B N 1) the weight of each slot: the exponential of a logit of its item plus one of its type of event
        weight = torch.zeros_like(slots[..., :1]) if self.attend is None else self.attend(slots)
        if self.type_weight is not None and types is not None:
            weight = weight + nn.functional.pad(self.type_weight[types], (0, 0, 1, 0))
        weight = (MAX_LOGIT * torch.tanh(weight / MAX_LOGIT)).exp()
        # (B Q D) the weighted mean, scaled like the plain sum
        return _sum_up_to(slots * weight, positions) / _sum_up_to(weight, positions) * n_slots.sqrt()


class RecencyPooling(nn.Module):
    """A weighted sum of the visible items and a start token for each head, then a weighted sum of the heads.

    The squared weights of a head add up to 1. The initial weight of an item k events back is exp(−slope × k), one head
    for each of `slopes`; training adapts it. Weights also depend on how long ago an event was (`time`), on the item
    (`attention`) and on the type of event, where the data have types.
    """

    def __init__(self, spec: DataSpec, dim: int, slopes: Sequence[float], attention: bool, time: bool) -> None:
        super().__init__()
        n_heads, n_positions = len(slopes), spec.max_history + 1
        self.start = nn.Parameter(torch.zeros(dim))
        self.attend = nn.Linear(dim, n_heads) if attention else None
        self.type_weight = nn.Parameter(torch.zeros(spec.n_types, n_heads)) if spec.n_types else None
        self.bias = AttentionBias(n_heads, n_positions, relative_position=True, time=time)
        self.bias.distance = nn.Parameter(-torch.tensor(list(slopes))[:, None] * torch.arange(n_positions))
        self.mix = nn.Parameter(torch.full((n_heads, dim), 1 / n_heads))

    def forward(self, items: Float[Tensor, "B L D"], inputs: ModelInputs) -> Float[Tensor, "B Q D"]:
        """The pooled vectors."""
        positions, events = inputs.query_positions, inputs.events
        # (B N D) the start token in front of the items
        slots = torch.cat([self.start.expand(items.shape[0], 1, -1), items], dim=1)
        # (B Q D) weights that all users share: pooled at all positions by one product
        if positions.shape[1] == slots.shape[1] and self._weighs_by_distance_only:
            return gather_positions(self._pool_all_positions(slots), positions)
        # (B H Q N) the logit of each slot for each head and query: of distance and time, plus of item and event type
        request_times, event_times = inputs.request.get("timestamp"), prepend_start(events.get("timestamp"))
        logits = self.bias(positions, request_times, event_times, slots.shape[1])
        if self.attend is not None:
            logits = logits + self.attend(slots).transpose(1, 2)[:, :, None]
        if self.type_weight is not None:
            type_logits = nn.functional.pad(self.type_weight[events["event"][..., 0]], (0, 0, 1, 0))
            logits = logits + type_logits.transpose(1, 2)[:, :, None]
        # (B H Q N) @ (B 1 N D) -> (B H Q D) the sum of each head, then (B Q D) the weighted sum of the heads
        return ((_compute_unit_weights(logits) @ slots[:, None]) * self.mix[:, None]).sum(dim=1)

    @property
    def _weighs_by_distance_only(self) -> bool:
        return self.attend is None and self.type_weight is None and self.bias.elapsed is None

    def _pool_all_positions(self, slots: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """The pooled vectors of all positions, with weights that all users share, in one product."""
        n_users, n_positions, dim = slots.shape
        # (H N N) the weights of each head: for each position, of each slot
        all_positions = torch.arange(n_positions, device=slots.device)[None]
        weight = _compute_unit_weights(self.bias(all_positions, None, None, n_positions)[0])
        # (H·N N) @ (N B·D) -> (H N B D) the sum of each head, then (B N D) the weighted sum of the heads
        heads = weight.flatten(0, 1) @ slots.transpose(0, 1).flatten(1)
        heads = heads.view(-1, n_positions, n_users, dim) * self.mix[:, None, None]
        return heads.sum(dim=0).transpose(0, 1)


def make_pooling(
    spec: DataSpec, dim: int, attention: bool, recency: Sequence[float], time_bias: bool
) -> Pooling | RecencyPooling:
    """The pooling of a model: by recency if `recency` names slopes and the data keep their order, else a plain sum.

    Raises DataError for `time_bias` without times, or without pooling by recency.
    """
    check_time_bias(spec, time_bias)
    if time_bias and not (recency and spec.ordered):
        raise DataError("model.time_bias=true needs pooling by recency; name slopes in model.recency, on data in order")
    if recency and spec.ordered:
        return RecencyPooling(spec, dim, recency, attention, time_bias)
    return Pooling(dim, attention, spec.n_types)


def _compute_unit_weights(logits: Float[Tensor, "... N"]) -> Float[Tensor, "... N"]:
    """Softmax weights, scaled so that their squares add up to 1."""
    weight = logits.softmax(dim=-1)
    return weight / weight.square().sum(dim=-1, keepdim=True).sqrt()


def _sum_up_to(slots: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
    """The sum of the start token and the slots that each query sees."""
    return gather_positions(slots.cumsum(dim=1), positions)
