"""Item neighbourhoods by cosine similarity. Sarwar et al. (2001); shrinkage as in Bell & Koren (2007).

B users, L history slots, I items with padding, K neighbours.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from recsys.config.types import Positive
from recsys.data.dataset import Dataset
from recsys.models.base import ClosedForm, DataSpec, ModelInputs, hide_padding
from recsys.models.baselines.training_events import count_interactions, read_events_before


class ItemKNN(ClosedForm):
    """Each event of the history votes for its item's `neighbours` nearest items, by their similarity.

    The weight of a vote halves every `half_life` events back (None: all votes weigh the same).
    """

    def __init__(
        self, spec: DataSpec, neighbours: Positive = 100, shrinkage: float = 10.0, half_life: float | None = 1.0
    ) -> None:
        super().__init__()
        self.shrinkage, self.half_life = shrinkage, half_life
        shape = spec.n_items + 1, min(neighbours, spec.n_items)
        self.register_buffer("nearest", torch.zeros(shape, dtype=torch.long))
        self.register_buffer("similarity", torch.zeros(shape))
        self.nearest: Tensor
        self.similarity: Tensor

    def fit(self, dataset: Dataset, part: str) -> None:
        """Find the nearest neighbours of each item, in chunks of items."""
        matrix = count_interactions(read_events_before(dataset, part), dataset.n_users, dataset.n_items)
        norms = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
        columns = sparse.csr_matrix(matrix.T)
        for start in range(0, len(norms), 1024):
            chunk = slice(start, start + 1024)
            co_counts = (columns[chunk] @ matrix).toarray()
            cosine = co_counts / np.maximum(norms[chunk, None] * norms[None] + self.shrinkage, 1e-9)
            cosine[np.arange(len(cosine)), np.arange(start, start + len(cosine))] = 0
            top = torch.from_numpy(cosine.astype(np.float32)).topk(self.nearest.shape[1], dim=1)
            self.similarity[chunk], self.nearest[chunk] = top.values, top.indices

    def forward(self, inputs: ModelInputs) -> Float[Tensor, "B I"]:
        """The sum of the votes, some history slots at a time, since each takes K numbers per user; −inf for padding."""
        history = inputs.history
        scores = torch.zeros(history.shape[0], len(self.nearest), device=history.device)
        for items, weights in self._split_slots(history):
            votes = self.similarity[items] * weights[:, :, None]
            scores = scores.scatter_add(1, self.nearest[items].flatten(1), votes.flatten(1))
        return hide_padding(scores)

    def _split_slots(self, history: Int[Tensor, "B L"]) -> list[tuple[Tensor, Tensor]]:
        weights = self._vote_weights(history)
        if torch.compiler.is_exporting():  # a graph cannot loop over an unknown length
            return [(history, weights)]
        return list(zip(torch.split(history, 64, 1), torch.split(weights, 64, 1), strict=True))

    def _vote_weights(self, history: Int[Tensor, "B L"]) -> Float[Tensor, "B L"]:
        mask = (history > 0).float()
        if self.half_life is None:
            return mask
        events_back = mask.sum(dim=1, keepdim=True) - 1 - torch.arange(history.shape[1], device=history.device)
        return mask * torch.exp2(-events_back.clamp(min=0) / self.half_life)
