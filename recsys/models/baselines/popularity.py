"""The same list for everybody: what was taken most.

B users, L history slots, I items with padding.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from recsys.data.dataset import Dataset
from recsys.models.base import ClosedForm, Columns, Facts, pad_hidden
from recsys.models.baselines.training_events import decayed_counts, events_before


class Popularity(ClosedForm):
    """Counts of events."""

    half_life: float | None = None

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(facts.n_items + 1))
        self.counts: Tensor

    def fit(self, dataset: Dataset, part: str) -> None:
        """Count."""
        events = events_before(dataset, part)
        self.counts.copy_(torch.from_numpy(decayed_counts(events, dataset.n_items, self.half_life)))

    def forward(
        self,
        user: Columns,  # noqa: ARG002
        history: Int[Tensor, "B L"],
        events: Columns,  # noqa: ARG002
        request: Columns,  # noqa: ARG002
    ) -> Float[Tensor, "B I"]:
        """The counts."""
        return pad_hidden(self.counts.expand(history.shape[0], -1))
