"""The items that the user had most often, recent events counting more: a strong baseline in shops.

B users, L history slots, I items with padding.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from recsys.data.dataset import Dataset
from recsys.models.base import ClosedForm, DataSpec, ModelInputs, hide_padding
from recsys.models.baselines.training_events import DAY, decay_counts, read_events_before


class PersonalFrequency(ClosedForm):
    """The user's own counts, then popularity; the weight of an event halves every `half_life` days (None: never)."""

    def __init__(self, spec: DataSpec, half_life: float | None = 90) -> None:
        super().__init__()
        self.decay = 0.0 if half_life is None or not spec.has_time else 1 / half_life
        self.register_buffer("popularity", torch.zeros(spec.n_items + 1))
        self.popularity: Tensor
        event_types = ("", *spec.event.values) if spec.event else ()
        self.register_buffer("counted", torch.tensor([float(name in spec.target_events) for name in event_types]))
        self.counted: Tensor

    def fit(self, dataset: Dataset, part: str) -> None:
        """Fit popularity, scaled to weigh less than a year-old event of the user."""
        counts = torch.from_numpy(decay_counts(read_events_before(dataset, part), dataset.n_items, None))
        self.popularity.copy_(counts / counts.max() * 1e-3)

    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The user's decayed counts; items that the user never had follow by popularity; −inf for padding."""
        history, events = inputs.history, inputs.events
        weight = (history > 0).float()
        if len(self.counted):
            weight = weight * self.counted[events["event"][..., 0]]
        if self.decay:
            age = (inputs.request["timestamp"] - events["timestamp"]).clamp(min=0) / DAY
            weight = weight * torch.exp2(-age * self.decay)
        scores = self.popularity.expand(history.shape[0], -1).scatter_add(1, history, weight)
        return hide_padding(scores)
