"""EASE: the best linear item-to-item model, in closed form. Steck, Embarrassingly Shallow Autoencoders (2019).

B users, L history slots, I items with padding.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from recsys.config.types import Positive
from recsys.data.dataset import Dataset
from recsys.errors import TooLargeError
from recsys.models.base import ClosedForm, Columns, Facts, pad_hidden
from recsys.models.baselines.training_events import events_before, interactions


class EASE(ClosedForm):
    """Item weights B = −P / diag(P) with P = (XᵀX + λI)⁻¹ and a zero diagonal.

    Needs I² numbers of memory; raises TooLargeError above `max_items`.
    """

    def __init__(self, facts: Facts, regularisation: float = 500.0, max_items: Positive = 20_000) -> None:
        super().__init__()
        if facts.n_items > max_items:
            raise TooLargeError(f"{facts.n_items:,} items > {max_items:,}")
        self.regularisation = regularisation
        self.register_buffer("weights", torch.zeros(facts.n_items + 1, facts.n_items + 1))
        self.weights: Tensor

    def fit(self, dataset: Dataset, part: str) -> None:
        """Invert the regularised Gram matrix."""
        matrix = interactions(events_before(dataset, part), dataset.n_users, dataset.n_items)[:, 1:]
        gram = torch.from_numpy((matrix.T @ matrix).toarray())
        gram.diagonal().add_(self.regularisation)
        precision = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        precision.div_(-precision.diagonal().clone())
        precision.fill_diagonal_(0)
        self.weights.zero_()[1:, 1:] = precision

    def rows(self) -> Float[Tensor, "I I"]:
        """The weights."""
        return self.weights

    def forward(
        self,
        user: Columns,  # noqa: ARG002
        history: Int[Tensor, "B L"],
        events: Columns,  # noqa: ARG002
        request: Columns,  # noqa: ARG002
    ) -> Float[Tensor, "B I"]:
        """The rows of the items in the history, each item once however often it was had."""
        times = torch.zeros(history.shape[0], len(self.weights), device=history.device)
        times = times.scatter_add(1, history, torch.ones_like(history, dtype=times.dtype))
        once = 1 / times.gather(1, history)
        return pad_hidden(F.embedding_bag(history, self.weights, per_sample_weights=once, mode="sum"))
