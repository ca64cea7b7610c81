"""What the user took most, lately: one line that beats many a deep model in a shop.

B users, L history slots, I items with padding.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.data.dataset import Dataset
from recsys.models.base import ClosedForm, Columns, Facts, pad_hidden
from recsys.models.baselines.training_events import DAY, decayed_counts, events_before


class PersonalFrequency(ClosedForm):
    """The user's own counts, halved in weight every `half_life` days (None: never), then popularity."""

    def __init__(self, facts: Facts, half_life: float | None = 90) -> None:
        super().__init__()
        self.decay = 0.0 if half_life is None or not facts.has_time else 1 / half_life
        self.register_buffer("popularity", torch.zeros(facts.n_items + 1))
        self.popularity: Tensor
        types = ("", *facts.event.values) if facts.event else ()
        self.register_buffer("counted", torch.tensor([float(name in facts.target_events) for name in types]))
        self.counted: Tensor

    def fit(self, dataset: Dataset, part: str) -> None:
        """Scale popularity to below what a year's decay leaves of one event."""
        counts = torch.from_numpy(decayed_counts(events_before(dataset, part), dataset.n_items, None))
        self.popularity.copy_(counts / counts.max() * 1e-3)

    def forward(
        self,
        user: Columns,  # noqa: ARG002
        history: Int[Tensor, "B L"],
        events: Columns,
        request: Columns,
    ) -> Float[Tensor, "B I"]:
        """The user's decayed counts; items never had follow by popularity."""
        weight = (history > 0).float()
        if len(self.counted):
            weight = weight * self.counted[events["event"][..., 0]]
        if self.decay:
            weight = weight * torch.exp2(-(request["timestamp"] - events["timestamp"]).clamp(min=0) / DAY * self.decay)
        scores = self.popularity.expand(history.shape[0], -1).scatter_add(1, history, weight)
        return pad_hidden(scores)
