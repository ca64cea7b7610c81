"""Repeat purchases: a bonus for items that the user already had.

B users, L history slots, Q queries per user, H half-lives.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.data.batches.batch import ModelInputs

DAY = 86_400.0


class RepeatBonus(nn.Module):
    """A mixture of the model and the user's own past: P(i) ∝ exp(s_i) + ρ_i · (Σ_h β_h c_ih)^γ.

    s is the model's score; c_ih is the number of the item's events in the history, where the weight of an event halves
    every `half_lives[h]` days (events, if the log has no times). β, γ, the propensity ρ_i of an item to be bought again
    and the weight of each of `n_types` types of events (0: all weigh the same) are learned. The bonus added to s is
    softplus(log past − s), which is near 0 where the past is weak. (Adding log counts to s instead ranks rare
    favourites below popular items: see docs/lab_log.md.)
    """

    def __init__(self, n_items: int, half_lives: Sequence[float], has_time: bool, n_types: int, sparse: bool) -> None:
        super().__init__()
        self.has_time = has_time
        self.register_buffer("decay", 1 / torch.tensor(list(half_lives), dtype=torch.float32))
        self.decay: Tensor
        self.weight = nn.Parameter(torch.full((len(half_lives),), 1.0))
        self.power = nn.Parameter(torch.ones(()))
        self.level = nn.Parameter(torch.full((), 3.0))
        self.propensity = nn.Embedding(n_items + 1, 1, padding_idx=0, sparse=sparse)
        nn.init.zeros_(self.propensity.weight)
        self.type_weight = nn.Parameter(torch.zeros(n_types)) if n_types else None

    def forward(self, scores: Float[Tensor, "B Q L"], inputs: ModelInputs) -> Float[Tensor, "B Q L"]:
        """The bonus at the first slot of each item that the query sees; 0 at all other slots."""
        history, positions = inputs.history, inputs.query_positions
        slots = torch.arange(history.shape[1], device=history.device)
        # (B Q L) whether the query sees the slot
        visible = (slots < positions[:, :, None]) & (history > 0)[:, None]
        # (B Q L) the age of each event for each query, in days (in events, if the log has no times)
        if self.has_time:
            age = (inputs.request["timestamp"][:, :, None] - inputs.events["timestamp"][:, None]).clamp(min=0) / DAY
        else:
            age = (positions[:, :, None] - 1 - slots).clamp(min=0).float()
        # (B L L) whether two slots hold the same item, (B L) whether a slot is the first of its item
        same_item = history[:, :, None] == history[:, None]
        is_first = ~(same_item & (slots[:, None] > slots)).any(dim=2)
        # (B L L) the weight of the event in one slot for the item in another
        counts = same_item.to(age.dtype)
        if self.type_weight is not None:
            counts = counts * self.type_weight[inputs.events["event"]].exp()
        # (B Q L) @ (B L L) -> (B Q L) the decayed count of each slot's item
        past = (self._weigh_by_age(age) * visible) @ counts
        # (B Q L) log ρ + γ · log count, then the bonus at first visible slots
        log_past = self.level + self.power * past.clamp(min=1e-3).log() + self.propensity(history)[:, None, :, 0]
        return F.softplus(log_past - scores) * (visible & is_first[:, None])

    def _weigh_by_age(self, age: Float[Tensor, "B Q L"]) -> Float[Tensor, "B Q L"]:
        """The weight of an event by its age: the sum over half-lives of β_h · 2^(−age / half-life)."""
        total = torch.zeros_like(age)
        for decay, weight in zip(self.decay, self.weight, strict=True):
            total = total + weight.exp() * torch.exp2(-age * decay)
        return total
