"""Users, items and feature columns as vectors.

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
    """The sum over columns of a vector a category (the mean of several) or a learned direction a number."""

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
        """(…, D) of columns (…, width); 0 without columns. Unknown values add nothing."""
        return sum((self._embed(table, columns[name]) for name, table in self.tables.items()), 0.0)

    @staticmethod
    def _embed(table: nn.Module, values: Tensor) -> Tensor:
        if isinstance(table, nn.Linear):
            return table(values)
        n_known = (values > 0).sum(dim=-1, keepdim=True).clamp(min=1)
        return (table(values) * (values > 0)[..., None]).sum(dim=-2) / n_known


class ContextEmbedding(FeatureEmbedding):
    """Columns of the request; while training, a share `dropout` of the values of each is unknown, drawn for every query
    by itself, so that requests which name only some of them are answered well. What unknown stands for is learned by
    what the vector is added to: it adds nothing itself.
    """

    def __init__(self, encoders: dict[str, Encoder], dim: int, dropout: float) -> None:
        super().__init__(encoders, dim)
        self.dropout = dropout

    def forward(self, columns: dict[str, Tensor]) -> Float[Tensor, "*N D"] | float:
        """(…, D) of columns (…, width); 0 without columns."""
        if self.training and self.dropout > 0:
            columns = {name: self._drop_values(columns[name]) for name in self.tables}
        return super().forward(columns)

    def _drop_values(self, column: Tensor) -> Tensor:
        return column * (torch.rand(column.shape[:-1], device=column.device) >= self.dropout)[..., None]


def make_embedding(rows: int, dim: int, std: float = 0.02, sparse: bool = False) -> nn.Embedding:
    """An embedding whose row 0 is padding and stays zero; `sparse` gradients hold only the rows that were read."""
    embedding = nn.Embedding(rows, dim, padding_idx=0, sparse=sparse)
    nn.init.normal_(embedding.weight, std=std)
    with torch.no_grad():
        embedding.weight[0] = 0
    return embedding


def extend_embedding(table: nn.Embedding, n: int, unknown: bool) -> nn.Embedding:
    """A table with n more rows: 0 where that was trained to stand for the unknown, else the mean of the others."""
    weights = table.weight.detach()
    new_row = torch.zeros_like(weights[0]) if unknown else weights[1:].mean(dim=0)
    extended = nn.Embedding(len(weights) + n, weights.shape[1], padding_idx=0, sparse=table.sparse)
    with torch.no_grad():
        extended.weight.copy_(torch.cat([weights, new_row.expand(n, -1)]))
    return extended


class MatrixRows(nn.Module):
    """Some columns of a fixed matrix, read as a table is."""

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
    """The rows of some items, or all of them."""
    vectors: Tensor = table.weight if items is None else table(items)
    return vectors


def log_popularity(dataset: Dataset) -> Float[Tensor, "I 1"]:
    """What popularity is before training: the log of each item's training events, 0 on average."""
    counts = torch.from_numpy(np.array(dataset.item_counts, dtype=np.float32))
    logs = torch.log(counts + 1)
    return (logs - logs.mean())[:, None]


class UserEmbedding(nn.Module):
    """A vector for each user; while training, a share `dropout` of them is taken for unknown, whose vector is 0."""

    def __init__(self, n_users: int, dim: int, dropout: float, sparse: bool) -> None:
        super().__init__()
        self.table, self.dropout = make_embedding(n_users + 1, dim, sparse=sparse), dropout

    def forward(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """The vectors of the users."""
        if self.training and self.dropout > 0:
            ids = ids * (torch.rand(ids.shape, device=ids.device) >= self.dropout)
        return self.table(ids)

    def unknown(self) -> "UnknownUser":
        """What stands in its place where a model is to know nobody."""
        return UnknownUser(self.table.weight[0].detach().clone())


class UnknownUser(nn.Module):
    """The vector of the unknown user, for everybody."""

    def __init__(self, row: Float[Tensor, " D"]) -> None:
        super().__init__()
        self.register_buffer("row", row)
        self.row: Tensor

    def forward(self, ids: Int[Tensor, " B"]) -> Float[Tensor, "B D"]:
        """The same vector for each."""
        return self.row.expand(ids.shape[0], -1)
