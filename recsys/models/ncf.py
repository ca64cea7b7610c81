"""Neural collaborative filtering: a product of user and item vectors beside a network over both.

B users, L history slots, Q queries a user, C candidates, I items with padding, D dimensions, H hidden units. He et
al., Neural Collaborative Filtering (2017), whose user is a row; here also, and for new users only, a history.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recsys.config.types import Positive
from recsys.data.dataset import Dataset
from recsys.models.base import DataSpec, ModelInputs, Trainable, make_repeat_bonus
from recsys.models.layers.dropout import Dropout
from recsys.models.layers.embedding import MatrixRows, UserEmbedding, log_popularity, make_embedding, read_vectors
from recsys.models.layers.pooling import make_pooling

MAX_HIDDEN_UNITS = 2**20
"""hidden units of a chunk of pairs in training: 4 MiB stay in the cache"""
TILE_ITEMS = 256
"""items of a tile of pairs in ranking, which has a quarter of those units: measured, docs/experiments.md"""


class NCF(Trainable):
    """NeuMF: score = w · (p ∘ q) + MLP(p', q') + popularity. The first layer of the network is a sum of a user and
    an item part, each computed once, so that a pair costs what comes after it. `user_id`: a row for each user;
    `history`: the items that the user had, pooled as in TwoTower (`recency`, `time_bias`); `user_id=true history=false`
    is the paper's. A share `id_dropout` of users is trained as unknown.
    """

    dot_product = False

    def __init__(
        self,
        spec: DataSpec,
        dim: Positive = 64,
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.3,
        user_id: bool = True,
        history: bool = True,
        recency: Sequence[float] = (1, 0.25, 0.05, 0),
        time_bias: bool = False,
        id_dropout: float = 0.1,
        repeat: bool | None = None,
        half_lives: Sequence[float] = (7, 30, 90, 365),
        sparse: bool = False,
    ) -> None:
        super().__init__()
        if not (user_id or history):
            raise ValueError("model.user_id and model.history are both false: nothing tells users apart; set one true")
        self.dim = dim
        self.folded: MatrixRows | None = None
        self.item = make_embedding(spec.n_items + 1, 2 * dim, std=0.1, sparse=sparse)
        self.popularity = make_embedding(spec.n_items + 1, 1, sparse=sparse)
        self.user = UserEmbedding(spec.n_users, 2 * dim, id_dropout, sparse) if user_id else None
        self.pooling = make_pooling(spec, 2 * dim, False, recency, time_bias) if history else None
        self.product = nn.Parameter(torch.ones(dim))
        self.user_side = nn.Linear(dim, hidden[0])
        self.item_side = nn.Linear(dim, hidden[0], bias=False)
        self.dropout = Dropout(dropout)  # of users: for each pair it would cost five times the rest
        hidden_layers = [
            layer
            for n_in, n_out in itertools.pairwise(hidden)
            for layer in (nn.Linear(n_in, n_out), nn.ReLU(inplace=True))
        ]
        self.network = nn.Sequential(nn.ReLU(inplace=True), *hidden_layers, nn.Linear(hidden[-1], 1, bias=False))
        self.repeat = make_repeat_bonus(spec, repeat, half_lives, sparse)
        self.n_hidden_units = sum(hidden)

    def prepare(self, dataset: Dataset) -> None:
        """Start popularity at the log of the counts."""
        with torch.no_grad():
            self.popularity.weight.copy_(log_popularity(dataset))

    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... E"]:
        """Popularity and the vector of the product, then the item's part of the first layer."""
        if self.folded is not None:
            return read_vectors(self.folded, items)
        product, network = read_vectors(self.item, items).chunk(2, dim=-1)
        return torch.cat([read_vectors(self.popularity, items), product, self.item_side(network)], dim=-1)

    def fold(self, matrix: Float[Tensor, "I E"]) -> None:
        """Read item vectors from `matrix` alone; a history is read from the table still."""
        self.folded = MatrixRows(matrix)

    def encode(self, inputs: ModelInputs) -> Float[Tensor, "B Q E"]:
        """1 and the weighted vector of the product, then the user's part of the first layer."""
        # (B Q 2D) the user's vector: a learned row, the pooled history, or both
        positions = inputs.query_positions
        user = torch.zeros(*positions.shape, 2 * self.dim, device=positions.device)
        if self.user is not None:
            user = user + self.user(inputs.user["id"])[:, None]
        if self.pooling is not None:
            user = user + self.pooling(self.item(inputs.history), inputs)
        # (B Q D) for the product, (B Q D) for the network, whose first layer's user part (B Q H) is computed here
        product, network = self.dropout(user).chunk(2, dim=-1)
        return torch.cat([torch.ones_like(user[..., :1]), product * self.product, self.user_side(network)], dim=-1)

    def score(self, queries: Float[Tensor, "*N Q E"], items: Float[Tensor, "*N C E"]) -> Float[Tensor, "*N Q C"]:
        """Scores of all pairs, some at a time; for the gradient what is between is computed again."""
        # the popularity and the product: (… Q 1+D) @ (… 1+D C) -> (… Q C)
        width = 1 + self.dim
        scores = queries[..., :width] @ items[..., :width].transpose(-1, -2)
        # the two parts of the network's first layer: (… Q H) of the users, (… C H) of the items
        user_side, item_side = queries[..., width:], items[..., width:]
        if torch.compiler.is_exporting():  # the exported graph cuts the items instead
            return scores + self._score_pairs(user_side, item_side)
        if not torch.is_grad_enabled():
            return self._add_tiles(scores, user_side, item_side)
        # the network on all pairs, as many queries at a time as fit the budget
        per_query = math.prod(item_side.shape[:-1]) * self.n_hidden_units
        chunks = torch.split(user_side, max(MAX_HIDDEN_UNITS // max(per_query, 1), 1), -2)
        return scores + torch.cat([self._score_chunk_with_checkpoint(chunk, item_side) for chunk in chunks], dim=-2)

    def _add_tiles(
        self, scores: Float[Tensor, "*N Q C"], user_side: Float[Tensor, "*N Q H"], item_side: Float[Tensor, "*N C H"]
    ) -> Float[Tensor, "*N Q C"]:
        """The scores, with those of the network added in place: memory is what one tile takes."""
        per_query = math.prod(item_side.shape[:-2]) * min(TILE_ITEMS, item_side.shape[-2]) * self.n_hidden_units
        step = max(MAX_HIDDEN_UNITS // 4 // max(per_query, 1), 1)
        query_starts, item_starts = range(0, user_side.shape[-2], step), range(0, item_side.shape[-2], TILE_ITEMS)
        for query_start, item_start in itertools.product(query_starts, item_starts):
            queries, items = slice(query_start, query_start + step), slice(item_start, item_start + TILE_ITEMS)
            scores[..., queries, items] += self._score_pairs(user_side[..., queries, :], item_side[..., items, :])
        return scores

    def _score_chunk_with_checkpoint(self, user_side: Tensor, item_side: Tensor) -> Tensor:
        scores: Tensor = checkpoint(self._score_pairs, user_side, item_side, use_reentrant=False)
        return scores

    def _score_pairs(
        self, user_side: Float[Tensor, "*N Q H"], item_side: Float[Tensor, "*N C H"]
    ) -> Float[Tensor, "*N Q C"]:
        """The network's score of every pair: (… Q 1 H) + (… 1 C H) -> (… Q C H) -> (… Q C 1)."""
        scores: Tensor = self.network(user_side[..., :, None, :] + item_side[..., None, :, :])
        return scores[..., 0]
