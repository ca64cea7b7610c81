"""Embeddings: vectors of users, items and feature columns.

B users, I items with padding, N rows (of any shape), D dimensions.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.data.dataset import Dataset
from recsys.data.features import Encoder


class FeatureEmbedding(nn.Module):
    """The sum of the columns' vectors: one per category (their mean, if several), a learned direction per number."""

    def __init__(self, encoders: dict[str, Encoder], dim: int) -> None:
        super().__init__()
        self.tables = nn.ModuleDict()
        for name, encoder in encoders.items():
            table: nn.Module = nn.Linear(1 if encoder.kind == "number" else encoder.width, dim, bias=False)
            if encoder.kind == "category":
                table = nn.Embedding(encoder.size, dim, padding_idx=0)
            nn.init.normal_(table.weight, std=0.02)  # type: ignore[arg-type]
            self.tables[name] = table

    def forward(self, columns: dict[str, Tensor]) -> Float[Tensor, "*N D"] | float:
        """The vectors (…, D) of columns (…, width); 0 without columns. Unknown values add nothing."""
        return sum((self._embed(table, columns[name]) for name, table in self.tables.items()), 0.0)

    @staticmethod
    def _embed(table: nn.Module, values: Tensor) -> Tensor:
        if isinstance(table, nn.Linear):
            return table(values)
        n_known = (values > 0).sum(dim=-1, keepdim=True).clamp(min=1)
        return (table(values) * (values > 0)[..., None]).sum(dim=-2) / n_known


class ContextEmbedding(FeatureEmbedding):
    """The embedding of the request's context columns.

    In training, a fraction `dropout` of the values of each column is unknown, drawn for each query, so that requests
    with only some of the columns are ranked well. An unknown value adds nothing.
    """

    def __init__(self, encoders: dict[str, Encoder], dim: int, dropout: float) -> None:
        super().__init__(encoders, dim)
        self.dropout = dropout

    def forward(self, columns: dict[str, Tensor]) -> Float[Tensor, "*N D"] | float:
        """The vectors (…, D) of columns (…, width); 0 without columns."""
        if self.training and self.dropout > 0:
            columns = {name: self._drop_values(columns[name]) for name in self.tables}
        return super().forward(columns)

    def _drop_values(self, column: Tensor) -> Tensor:
        return column * (torch.rand(column.shape[:-1], device=column.device) >= self.dropout)[..., None]


def make_embedding(rows: int, dim: int, std: float = 0.02, sparse: bool = False) -> nn.Embedding:
    """An embedding whose row 0 is padding and stays 0; `sparse` gradients hold only the rows that were read."""
    embedding = nn.Embedding(rows, dim, padding_idx=0, sparse=sparse)
    nn.init.normal_(embedding.weight, std=std)
    with torch.no_grad():
        embedding.weight[0] = 0
    return embedding


def extend_embedding(table: nn.Embedding, n: int, unknown: bool) -> nn.Embedding:
    """The table with n more rows: 0 if that was trained as the `unknown` item, else the mean of the other rows."""
    weights = table.weight.detach()
    new_row = torch.zeros_like(weights[0]) if unknown else weights[1:].mean(dim=0)
    extended = nn.Embedding(len(weights) + n, weights.shape[1], padding_idx=0, sparse=table.sparse)
    with torch.no_grad():
        extended.weight.copy_(torch.cat([weights, new_row.expand(n, -1)]))
    return extended


class MatrixRows(nn.Module):
    """Some columns of a fixed matrix, read like an embedding."""

    def __init__(self, matrix: Float[Tensor, "I _"], start: int = 0, end: int | None = None) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.matrix: Tensor
        self.columns = slice(start, end)

    @property
    def weight(self) -> Float[Tensor, "I D"]:
        """All rows."""
        return self.matrix[:, self.columns]

    def forward(self, ids: Int[Tensor, "*N"]) -> Float[Tensor, "*N D"]:
        """The rows of some ids."""
        return F.embedding(ids, self.matrix)[..., self.columns]


def read_vectors(table: nn.Embedding | MatrixRows, items: Tensor | None) -> Float[Tensor, "... D"]:
    """The rows of some items; all rows if `items` is None."""
    vectors: Tensor = table.weight if items is None else table(items)
    return vectors


def log_popularity(dataset: Dataset) -> Float[Tensor, "I 1"]:
    """The initial popularity: the log of each item's training events plus 1, 0 on average."""
    counts = torch.from_numpy(np.array(dataset.item_counts, dtype=np.float32))
    logs = torch.log(counts + 1)
    return (logs - logs.mean())[:, None]


class UserEmbedding(nn.Module):
    """A vector for each user; in training, a fraction `dropout` of the users is unknown, whose vector is 0."""

    def __init__(self, n_users: int, dim: int, dropout: float, sparse: bool) -> None:
        super().__init__()
        self.table, self.dropout = make_embedding(n_users + 1, dim, sparse=sparse), dropout

    def forward(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """The vectors of some users."""
        if self.training and self.dropout > 0:
            ids = ids * (torch.rand(ids.shape, device=ids.device) >= self.dropout)
        return self.table(ids)

    def unknown(self) -> "UnknownUser":
        """A replacement that gives every user the unknown user's vector."""
        return UnknownUser(self.table.weight[0].detach().clone())


class UnknownUser(nn.Module):
    """An embedding that gives every user the unknown user's vector."""

    def __init__(self, row: Float[Tensor, " D"]) -> None:
        super().__init__()
        self.register_buffer("row", row)
        self.row: Tensor

    def forward(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """The unknown user's vector, once for each user."""
        return self.row.expand(ids.shape[0], -1)
