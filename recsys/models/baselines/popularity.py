"""Popularity: the same list for every user, the most frequent items first.

B users, L history slots, I items with padding.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from recsys.data.dataset import Dataset
from recsys.models.base import ClosedForm, DataSpec, ModelInputs, hide_padding
from recsys.models.baselines.training_events import decay_counts, read_events_before


class Popularity(ClosedForm):
    """Scores each item by its number of events."""

    half_life: float | None = None

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(spec.n_items + 1))
        self.counts: Tensor

    def fit(self, dataset: Dataset, part: str) -> None:
        """Count the events of each item."""
        events = read_events_before(dataset, part)
        self.counts.copy_(torch.from_numpy(decay_counts(events, dataset.n_items, self.half_life)))

    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The counts, the same for every user; −inf for padding."""
        return hide_padding(self.counts.expand(inputs.history.shape[0], -1))
