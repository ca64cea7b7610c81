"""Two towers: the dot product of a vector of the user's request and a vector of the item.

Covington et al., Deep Neural Networks for YouTube Recommendations (2016); Yi et al., Sampling-Bias-Corrected Neural
Modeling (2019).

B users, L history slots, Q queries per user, I items with padding, D dimensions, E = D + 1 columns of a query or item
vector.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.config.types import Positive
from recsys.data.dataset import Dataset
from recsys.errors import DataError
from recsys.models.base import DataSpec, FeatureColumns, ModelInputs, Trainable, make_repeat_bonus
from recsys.models.layers.dropout import Dropout
from recsys.models.layers.embedding import (
    ContextEmbedding,
    FeatureEmbedding,
    MatrixRows,
    UserEmbedding,
    extend_embedding,
    log_popularity,
    make_embedding,
    read_vectors,
)
from recsys.models.layers.pooling import make_pooling


class TwoTower(Trainable):
    """A user tower and an item tower.

    The user tower reads the history's items, pooled by how many events back they are (`recency`), how long ago they
    were (`time_bias`) and the items themselves (`attention`); user features; the context of the request; and a learned
    row for each user (`user_id`). The item tower reads the id and features, plus a learned popularity. `repeat` (None:
    if the data rank repeats) adds a bonus from the user's own decayed counts. Trained as unknown: a fraction
    `id_dropout` of the users, so that new users can be served; `context_dropout` of the values of each context column;
    and `item_dropout` of the scored items, so that new items can be ranked by their features alone. `sparse`: tables
    get gradients only for the rows that were read.
    """

    def __init__(
        self,
        spec: DataSpec,
        dim: Positive = 64,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.3,
        recency: Sequence[float] = (1, 0.25, 0.05, 0),
        time_bias: bool = False,
        attention: bool = False,
        user_id: bool = False,
        id_dropout: float = 0.1,
        context_dropout: float = 0.2,
        item_dropout: float = 0.0,
        repeat: bool | None = None,
        half_lives: Sequence[float] = (7, 30, 90, 365),
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.item_dropout = item_dropout
        self.item: nn.Embedding | MatrixRows = make_embedding(spec.n_items + 1, dim, sparse=sparse)
        self.popularity: nn.Embedding | MatrixRows = make_embedding(spec.n_items + 1, 1, sparse=sparse)
        self.item_features = FeatureEmbedding(spec.item, dim)
        self.popularity_features = FeatureEmbedding(spec.item if item_dropout > 0 else {}, 1)
        self.user = UserEmbedding(spec.n_users, dim, id_dropout, sparse) if user_id else None
        self.user_features = FeatureEmbedding(spec.user, dim)
        self.context = ContextEmbedding(spec.context, dim, context_dropout)
        self.pooling = make_pooling(spec, dim, attention, recency, time_bias)
        widths = [3 * dim, *hidden]
        hidden_layers = [
            layer
            for n_in, n_out in itertools.pairwise(widths)
            for layer in (nn.Linear(n_in, n_out), nn.GELU(), Dropout(dropout))
        ]
        self.tower = nn.Sequential(*hidden_layers, nn.Linear(widths[-1], dim))
        self.repeat = make_repeat_bonus(spec, repeat, half_lives, sparse)
        for name, encoder in spec.item.items():
            dtype = torch.long if encoder.kind == "category" else torch.float32
            self.register_buffer(f"item_{name}", torch.zeros(spec.n_items + 1, encoder.width, dtype=dtype))

    def prepare(self, dataset: Dataset) -> None:
        """Copy the item features and initialise popularity with the log of the items' counts."""
        for name, array in dataset.features("item").items():
            buffer = getattr(self, f"item_{name}")
            buffer.copy_(torch.from_numpy(np.array(array[: dataset.n_items + 1])))
        with torch.no_grad():
            self.popularity.weight.copy_(log_popularity(dataset))

    def content_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... D"]:
        """The vectors of some items (of all, if `items` is None) without the popularity column."""
        return read_vectors(self.item, items) + self.item_features(self._feature_columns(items))

    def _feature_columns(self, items: Int[Tensor, "*N"] | None) -> FeatureColumns:
        columns = {name: getattr(self, f"item_{name}") for name in self.item_features.tables}
        return columns if items is None else {name: column[items] for name, column in columns.items()}

    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... E"]:
        """The vectors of some items (of all, if `items` is None), with the popularity as last column."""
        # (… D+1) the vector and the popularity learned for the id, 0 for items trained as unknown
        by_id = torch.cat([read_vectors(self.item, items), read_vectors(self.popularity, items)], dim=-1)
        if self.training and self.item_dropout > 0:
            by_id = by_id * (torch.rand(by_id.shape[:-1], device=by_id.device) >= self.item_dropout)[..., None]
        # (… D) and (… 1) the features' contributions to the vector and to the popularity
        columns = self._feature_columns(items)
        vector = torch.zeros_like(by_id[..., :-1]) + self.item_features(columns)
        popularity = torch.zeros_like(by_id[..., -1:]) + self.popularity_features(columns)
        return by_id + torch.cat([vector, popularity], dim=-1)

    def append(self, columns: FeatureColumns) -> None:
        """Add items by their features, with the id and popularity of an unknown item, or of the mean item.

        Raises DataError if the model has no item features.
        """
        if not columns:
            raise DataError("the model has no item features to rank new items by; name data.features.item or .text")
        assert isinstance(self.item, nn.Embedding) and isinstance(self.popularity, nn.Embedding)
        n_new, unknown = len(next(iter(columns.values()))), self.item_dropout > 0
        self.item = extend_embedding(self.item, n_new, unknown)
        self.popularity = extend_embedding(self.popularity, n_new, unknown)
        if self.repeat is not None:
            self.repeat.propensity = extend_embedding(self.repeat.propensity, n_new, unknown=False)
        for name, column in columns.items():
            setattr(self, f"item_{name}", torch.cat([getattr(self, f"item_{name}"), column]))

    def fold(self, matrix: Float[Tensor, "I E"]) -> None:
        """Read item vectors from `matrix` from now on."""
        self.item, self.popularity = MatrixRows(matrix, 0, -1), MatrixRows(matrix, -1)
        self.item_features = self.popularity_features = FeatureEmbedding({}, 0)

    def encode(self, inputs: ModelInputs) -> Float[Tensor, "B Q E"]:
        """The query vectors, with 1 as last column for the item's popularity."""
        # (B Q D) the pooled history
        pooled = self.pooling(self.content_vectors(inputs.history), inputs)
        # (B D) the user's features and learned row
        user = self.user_features(inputs.user)
        if self.user is not None:
            user = user + self.user(inputs.user["id"])
        user = torch.zeros_like(pooled[:, 0]) + user
        # (B Q D) the context of the request
        context = torch.zeros_like(pooled) + self.context(inputs.request)
        # (B Q 3D) -> (B Q D) the tower's output corrects the pooled history
        query = pooled + self.tower(torch.cat([pooled, user[:, None].expand_as(pooled), context], dim=-1))
        return torch.cat([query, torch.ones_like(query[..., :1])], dim=-1)
