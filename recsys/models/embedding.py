"""Feature columns as vectors.

N rows (of any shape), D dimensions.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recsys.data.features import Encoder


class FeatureEmbedding(nn.Module):
    """The sum over columns of a vector a category (the mean of several) or a learned direction a number."""

    def __init__(self, encoders: dict[str, Encoder], dim: int) -> None:
        super().__init__()
        self.tables = nn.ModuleDict()
        for name, encoder in encoders.items():
            table: nn.Module = nn.Linear(1, dim, bias=False)
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
        known = (values > 0).sum(dim=-1, keepdim=True).clamp(min=1)
        return (table(values) * (values > 0)[..., None]).sum(dim=-2) / known


def initialised(rows: int, dim: int, std: float = 0.02) -> nn.Embedding:
    """An embedding whose row 0 is padding and stays zero."""
    embedding = nn.Embedding(rows, dim, padding_idx=0)
    nn.init.normal_(embedding.weight, std=std)
    with torch.no_grad():
        embedding.weight[0] = 0
    return embedding
