"""EASE: a linear item-to-item model with a closed-form solution. Steck, Embarrassingly Shallow Autoencoders (2019).

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

    Holds I² numbers in memory; raises TooLargeError if the catalogue has more than `max_items` items.
    """

    def __init__(self, spec: DataSpec, regularisation: float = 500.0, max_items: Positive = 20_000) -> None:
        super().__init__()
        if spec.n_items > max_items:
            raise TooLargeError(f"{spec.n_items:,} items > {max_items:,}")
        self.regularisation = regularisation
        self.register_buffer("weights", torch.zeros(spec.n_items + 1, spec.n_items + 1))
        self.weights: Tensor

    def fit(self, dataset: Dataset, part: str) -> None:
        """Fit the weights by inverting the regularised Gram matrix of the users' items."""
        matrix = count_interactions(read_events_before(dataset, part), dataset.n_users, dataset.n_items)[:, 1:]
        gram = torch.from_numpy((matrix.T @ matrix).toarray())
        gram.diagonal().add_(self.regularisation)
        precision = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        precision.div_(-precision.diagonal().clone())
        precision.fill_diagonal_(0)
        self.weights.zero_()[1:, 1:] = precision

    def rows(self) -> Float[Tensor, "I I"]:
        """The weights: the row of scores that each item of the history adds."""
        return self.weights

    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The sum of the rows of the distinct items in the history; −inf for padding."""
        history = inputs.history
        counts = torch.zeros(history.shape[0], len(self.weights), device=history.device)
        counts = counts.scatter_add(1, history, torch.ones_like(history, dtype=counts.dtype))
        weights = 1 / counts.gather(1, history)
        return hide_padding(F.embedding_bag(history, self.weights, per_sample_weights=weights, mode="sum"))
