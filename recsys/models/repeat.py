"""Repeat purchases: how much a user's own past raises the score of an item.

B users, L history slots, Q queries a user, H half-lives.
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

    s is the model's score; c_ih counts the item's events in the history, each halved in weight every
    `half_lives[h]` days (events, where the log has no times). β, γ and the propensity ρ_i of an item to be
    bought again are learned; so is what an event of each of `n_types` types counts for (0: all alike). What is added
    to s is softplus(log past − s): nothing where the past is weak. (Adding log counts to s instead ranks rare
    favourites below popular items: see docs/experiments.md.)
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
        """What is added at the first slot of each item that the query sees; 0 at all other slots."""
        history, positions = inputs.history, inputs.query_positions
        slots = torch.arange(history.shape[1], device=history.device)
        # (B Q L) which slots each query sees
        visible = (slots < positions[:, :, None]) & (history > 0)[:, None]
        # (B Q L) how old each event is for each query, in days or events
        if self.has_time:
            age = (inputs.request["timestamp"][:, :, None] - inputs.events["timestamp"][:, None]).clamp(min=0) / DAY
        else:
            age = (positions[:, :, None] - 1 - slots).clamp(min=0).float()
        # (B L L) which slots hold the same item, (B L) the first slot of each item
        same_item = history[:, :, None] == history[:, None]
        is_first = ~(same_item & (slots[:, None] > slots)).any(dim=2)
        # (B L L) how much an event of one slot counts for the item of another
        counts = same_item.to(age.dtype)
        if self.type_weight is not None:
            counts = counts * self.type_weight[inputs.events["event"]].exp()
        # (B Q L) the item's decayed count, then its logarithm plus the item's propensity
        past = (self._weigh_by_age(age) * visible) @ counts
        log_past = self.level + self.power * past.clamp(min=1e-3).log() + self.propensity(history)[:, None, :, 0]
        return F.softplus(log_past - scores) * (visible & is_first[:, None])

    def _weigh_by_age(self, age: Float[Tensor, "B Q L"]) -> Float[Tensor, "B Q L"]:
        """What an event of each age counts for."""
        total = torch.zeros_like(age)
        for decay, weight in zip(self.decay, self.weight, strict=True):
            total = total + weight.exp() * torch.exp2(-age * decay)
        return total
