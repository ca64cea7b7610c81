"""EASE: the best linear item-to-item model, in closed form. Steck, Embarrassingly Shallow Autoencoders (2019).

B users, L history slots, I items with padding.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from recsys.config.types import Positive
from recsys.data.dataset import Dataset
from recsys.errors import TooLargeError
from recsys.models.base import ClosedForm, DataSpec, ModelInputs, hide_padding
from recsys.models.baselines.training_events import count_interactions, read_events_before


class EASE(ClosedForm):
    """Item weights B = −P / diag(P) with P = (XᵀX + λI)⁻¹ and a zero diagonal.

    Needs I² numbers of memory; raises TooLargeError above `max_items`.
    """

    def __init__(self, spec: DataSpec, regularisation: float = 500.0, max_items: Positive = 20_000) -> None:
        super().__init__()
        if spec.n_items > max_items:
            raise TooLargeError(f"{spec.n_items:,} items > {max_items:,}")
        self.regularisation = regularisation
        self.register_buffer("weights", torch.zeros(spec.n_items + 1, spec.n_items + 1))
        self.weights: Tensor

    def fit(self, dataset: Dataset, part: str) -> None:
        """Invert the regularised Gram matrix."""
        matrix = count_interactions(read_events_before(dataset, part), dataset.n_users, dataset.n_items)[:, 1:]
        gram = torch.from_numpy((matrix.T @ matrix).toarray())
        gram.diagonal().add_(self.regularisation)
        precision = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        precision.div_(-precision.diagonal().clone())
        precision.fill_diagonal_(0)
        self.weights.zero_()[1:, 1:] = precision

    def rows(self) -> Float[Tensor, "I I"]:
        """The weights."""
        return self.weights

    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The rows of the items in the history, each item once however often it was had."""
        history = inputs.history
        counts = torch.zeros(history.shape[0], len(self.weights), device=history.device)
        counts = counts.scatter_add(1, history, torch.ones_like(history, dtype=counts.dtype))
        weights = 1 / counts.gather(1, history)
        return hide_padding(F.embedding_bag(history, self.weights, per_sample_weights=weights, mode="sum"))
