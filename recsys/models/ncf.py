"""Neural collaborative filtering: a product of user and item vectors, plus a network over both.

He et al., Neural Collaborative Filtering (2017), where the user is a learned row; here the history counts too, and
is all that is known of a new user.

B users, L history slots, Q queries per user, C candidates, I items with padding, D dimensions, H units of the first
hidden layer, E = 1 + D + H columns of a query or item vector.
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
"""hidden units computed at once in training: their 4 MiB stay in the cache"""
TILE_ITEMS = 256
"""items of one tile in ranking, which computes a quarter of those units: measured, see docs/lab_log.md"""


class NCF(Trainable):
    """NeuMF: score = w · (p ∘ q) + MLP(p', q') + popularity.

    The first layer of the network is the sum of a user part and an item part. Each is computed once, so a pair costs
    only the layers after it. `user_id` gives each user a learned row; `history` pools the items that the user had, as
    in TwoTower (`recency`, `time_bias`); `user_id=true history=false` is the paper's model. A fraction `id_dropout` of
    the users is trained as unknown.
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
            raise ValueError(
                "model.user_id and model.history are both false: nothing distinguishes users; set one to true"
            )
        self.dim = dim
        self.folded: MatrixRows | None = None
        self.item = make_embedding(spec.n_items + 1, 2 * dim, std=0.1, sparse=sparse)
        self.popularity = make_embedding(spec.n_items + 1, 1, sparse=sparse)
        self.user = UserEmbedding(spec.n_users, 2 * dim, id_dropout, sparse) if user_id else None
        self.pooling = make_pooling(spec, 2 * dim, False, recency, time_bias) if history else None
        self.product = nn.Parameter(torch.ones(dim))
        self.user_side = nn.Linear(dim, hidden[0])
        self.item_side = nn.Linear(dim, hidden[0], bias=False)
        # on the user vector: dropout on each pair would take five times as long as everything else
        self.dropout = Dropout(dropout)
        hidden_layers = [
            layer
            for n_in, n_out in itertools.pairwise(hidden)
            for layer in (nn.Linear(n_in, n_out), nn.ReLU(inplace=True))
        ]
        self.network = nn.Sequential(nn.ReLU(inplace=True), *hidden_layers, nn.Linear(hidden[-1], 1, bias=False))
        self.repeat = make_repeat_bonus(spec, repeat, half_lives, sparse)
        self.n_hidden_units = sum(hidden)

    def prepare(self, dataset: Dataset) -> None:
        """Initialise popularity with the log of the items' counts."""
        with torch.no_grad():
            self.popularity.weight.copy_(log_popularity(dataset))

    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... E"]:
        """The popularity, the item's vector for the product, and its part of the network's first layer, in one row."""
        if self.folded is not None:
            return read_vectors(self.folded, items)
        product, network = read_vectors(self.item, items).chunk(2, dim=-1)
        return torch.cat([read_vectors(self.popularity, items), product, self.item_side(network)], dim=-1)

    def fold(self, matrix: Float[Tensor, "I E"]) -> None:
        """Read item vectors from `matrix` from now on; histories are still read from the table."""
        self.folded = MatrixRows(matrix)

    def encode(self, inputs: ModelInputs) -> Float[Tensor, "B Q E"]:
        """1, the user's weighted vector for the product, and its part of the network's first layer, in one row."""
        positions = inputs.query_positions
        # (B Q 2D) the user's vector: a learned row, the pooled history, or the sum of both
        user = torch.zeros(*positions.shape, 2 * self.dim, device=positions.device)
        if self.user is not None:
            user = user + self.user(inputs.user["id"])[:, None]
        if self.pooling is not None:
            user = user + self.pooling(self.item(inputs.history), inputs)
        # (B Q D) its half for the product and (B Q D) its half for the network
        product, network = self.dropout(user).chunk(2, dim=-1)
        # (B Q 1+D+H) 1 for the popularity, the weighted product half, the user part of the network's first layer
        return torch.cat([torch.ones_like(user[..., :1]), product * self.product, self.user_side(network)], dim=-1)

    def score(self, queries: Float[Tensor, "*N Q E"], items: Float[Tensor, "*N C E"]) -> Float[Tensor, "*N Q C"]:
        """The score of every pair, computed in chunks; the backward pass recomputes the hidden units of a chunk."""
        # (… Q 1+D) @ (… 1+D C) -> (… Q C) the popularity and the product
        width = 1 + self.dim
        scores = queries[..., :width] @ items[..., :width].transpose(-1, -2)
        # (… Q H) and (… C H) the user part and the item part of the network's first layer
        user_side, item_side = queries[..., width:], items[..., width:]
        # (… Q C) the network's score of every pair is added
        if torch.compiler.is_exporting():  # the exported graph takes the items in chunks
            return scores + self._score_pairs(user_side, item_side)
        if not torch.is_grad_enabled():
            return self._add_tiles(scores, user_side, item_side)
        # in training: chunks of as many queries as fit MAX_HIDDEN_UNITS, each (… Q' H), (… C H) -> (… Q' C)
        per_query = math.prod(item_side.shape[:-1]) * self.n_hidden_units
        chunks = torch.split(user_side, max(MAX_HIDDEN_UNITS // max(per_query, 1), 1), -2)
        return scores + torch.cat([self._score_chunk_with_checkpoint(chunk, item_side) for chunk in chunks], dim=-2)

    def _add_tiles(
        self, scores: Float[Tensor, "*N Q C"], user_side: Float[Tensor, "*N Q H"], item_side: Float[Tensor, "*N C H"]
    ) -> Float[Tensor, "*N Q C"]:
        """The scores with the network's added in place, tile by tile, so that memory is that of one tile."""
        # the queries of a tile: a quarter of MAX_HIDDEN_UNITS divided by the hidden units of one query
        per_query = math.prod(item_side.shape[:-2]) * min(TILE_ITEMS, item_side.shape[-2]) * self.n_hidden_units
        step = max(MAX_HIDDEN_UNITS // 4 // max(per_query, 1), 1)
        query_starts, item_starts = range(0, user_side.shape[-2], step), range(0, item_side.shape[-2], TILE_ITEMS)
        # (… Q' H), (… C' H) -> (… Q' C') the network's score of the pairs of each tile
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
