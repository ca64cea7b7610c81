"""Two towers: a vector of the user and the moment, a vector of the item, their dot product.

B users, L history slots, Q queries a user, I items with padding, D dimensions. Covington et al., Deep Neural
Networks for YouTube Recommendations (2016); Yi et al., Sampling-Bias-Corrected Neural Modeling (2019).
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
    """User tower: the history's items, pooled (`recency`: by how many events they are back, `time_bias`:
    by how long ago, `attention`: by weights of the items), user features, context of the
    request, and (`user_id`) a row for each user. Item tower: id and features, plus a learned popularity. `repeat`
    (None: where the data rank repeats) mixes in the user's own decayed counts; a share `id_dropout` of users is
    trained as unknown, so that nobody new is refused, a share `context_dropout` of the values of each column of the
    context, and a share `item_dropout` of the items that are scored, so that features alone tell what is new. `sparse`:
    tables get gradients only where they were read.
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
        """Take the item features and start popularity at the log of the counts."""
        for name, array in dataset.features("item").items():
            buffer = getattr(self, f"item_{name}")
            buffer.copy_(torch.from_numpy(np.array(array[: dataset.n_items + 1])))
        with torch.no_grad():
            self.popularity.weight.copy_(log_popularity(dataset))

    def content_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... D"]:
        """Item vectors without the popularity column."""
        return read_vectors(self.item, items) + self.item_features(self._feature_columns(items))

    def _feature_columns(self, items: Int[Tensor, "*N"] | None) -> FeatureColumns:
        columns = {name: getattr(self, f"item_{name}") for name in self.item_features.tables}
        return columns if items is None else {name: column[items] for name, column in columns.items()}

    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... E"]:
        """Item vectors with the popularity as last column."""
        # (… D + 1) what is learned for the id: a vector and the popularity
        by_id = torch.cat([read_vectors(self.item, items), read_vectors(self.popularity, items)], dim=-1)
        if self.training and self.item_dropout > 0:
            by_id = by_id * (torch.rand(by_id.shape[:-1], device=by_id.device) >= self.item_dropout)[..., None]
        # (… D) and (… 1) what the features add to both
        columns = self._feature_columns(items)
        vector = torch.zeros_like(by_id[..., :-1]) + self.item_features(columns)
        popularity = torch.zeros_like(by_id[..., -1:]) + self.popularity_features(columns)
        return by_id + torch.cat([vector, popularity], dim=-1)

    def append(self, columns: FeatureColumns) -> None:
        """Take new items by their features: an id and a popularity that are unknown, or those of the mean item."""
        if not columns:
            raise DataError("the model has no item features to tell new items by; name data.features.item or .text")
        assert isinstance(self.item, nn.Embedding) and isinstance(self.popularity, nn.Embedding)
        n_new, unknown = len(next(iter(columns.values()))), self.item_dropout > 0
        self.item = extend_embedding(self.item, n_new, unknown)
        self.popularity = extend_embedding(self.popularity, n_new, unknown)
        if self.repeat is not None:
            self.repeat.propensity = extend_embedding(self.repeat.propensity, n_new, unknown=False)
        for name, column in columns.items():
            setattr(self, f"item_{name}", torch.cat([getattr(self, f"item_{name}"), column]))

    def fold(self, matrix: Float[Tensor, "I E"]) -> None:
        """Read item vectors from `matrix` alone."""
        self.item, self.popularity = MatrixRows(matrix, 0, -1), MatrixRows(matrix, -1)
        self.item_features = self.popularity_features = FeatureEmbedding({}, 0)

    def encode(self, inputs: ModelInputs) -> Float[Tensor, "B Q E"]:
        """The query vectors, with 1 as last column."""
        # (B Q D) what the history says, (B D) what the user's features say, (B Q D) what the request says
        pooled = self.pooling(self.content_vectors(inputs.history), inputs)
        user = self.user_features(inputs.user)
        if self.user is not None:
            user = user + self.user(inputs.user["id"])
        user = torch.zeros_like(pooled[:, 0]) + user
        context = torch.zeros_like(pooled) + self.context(inputs.request)
        # the tower (B Q 3D) -> (B Q D) corrects the pooled history
        query = pooled + self.tower(torch.cat([pooled, user[:, None].expand_as(pooled), context], dim=-1))
        return torch.cat([query, torch.ones_like(query[..., :1])], dim=-1)
