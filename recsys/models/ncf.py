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
from recsys.models.base import Columns, Facts, Trainable
from recsys.models.layers.dropout import Dropout
from recsys.models.layers.embedding import Rows, UserRow, initialised, log_popularity, vectors
from recsys.models.layers.pooling import make_pooling
from recsys.models.repeat import Repeat

BUDGET = 2**20
"""hidden units of a chunk of pairs in training: 4 MiB stay in the cache"""
TILE = 256
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
        facts: Facts,
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
        self.folded: Rows | None = None
        self.item = initialised(facts.n_items + 1, 2 * dim, std=0.1, sparse=sparse)
        self.popularity = initialised(facts.n_items + 1, 1, sparse=sparse)
        self.user = UserRow(facts.n_users, 2 * dim, id_dropout, sparse) if user_id else None
        self.pooling = make_pooling(facts, 2 * dim, False, recency, time_bias) if history else None
        self.product = nn.Parameter(torch.ones(dim))
        self.user_side = nn.Linear(dim, hidden[0])
        self.item_side = nn.Linear(dim, hidden[0], bias=False)
        self.dropout = Dropout(dropout)  # of users: for each pair it would cost five times the rest
        deeper = [layer for i, o in itertools.pairwise(hidden) for layer in (nn.Linear(i, o), nn.ReLU(inplace=True))]
        self.network = nn.Sequential(nn.ReLU(inplace=True), *deeper, nn.Linear(hidden[-1], 1, bias=False))
        repeats = facts.repeats if repeat is None else repeat
        self.repeat = Repeat(facts.n_items, half_lives, facts.has_time, facts.n_types, sparse) if repeats else None
        self.width = sum(hidden)

    def prepare(self, dataset: Dataset) -> None:
        """Start popularity at the log of the counts."""
        with torch.no_grad():
            self.popularity.weight.copy_(log_popularity(dataset))

    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... E"]:
        """Popularity and the vector of the product, then the item's part of the first layer."""
        if self.folded is not None:
            return vectors(self.folded, items)
        product, network = vectors(self.item, items).chunk(2, dim=-1)
        return torch.cat([vectors(self.popularity, items), product, self.item_side(network)], dim=-1)

    def fold(self, matrix: Float[Tensor, "I E"]) -> None:
        """Read item vectors from `matrix` alone; a history is read from the table still."""
        self.folded = Rows(matrix)

    def encode(
        self,
        user: Columns,
        history: Int[Tensor, "B L"],
        events: Columns,
        request: Columns,
        ask: Int[Tensor, "B Q"],
    ) -> Float[Tensor, "B Q E"]:
        """1 and the weighted vector of the product, then the user's part of the first layer."""
        person = torch.zeros(*ask.shape, 2 * self.dim, device=ask.device)
        if self.user is not None:
            person = person + self.user(user["id"])[:, None]
        if self.pooling is not None:
            person = person + self.pooling(self.item(history), events, request, ask)
        product, network = self.dropout(person).chunk(2, dim=-1)
        return torch.cat([torch.ones_like(person[..., :1]), product * self.product, self.user_side(network)], dim=-1)

    def score(self, queries: Float[Tensor, "*N Q E"], items: Float[Tensor, "*N C E"]) -> Float[Tensor, "*N Q C"]:
        """Scores of all pairs, some at a time; for the gradient what is between is computed again."""
        known = 1 + self.dim
        scores = queries[..., :known] @ items[..., :known].transpose(-1, -2)
        people, things = queries[..., known:], items[..., known:]
        if torch.compiler.is_exporting():  # the exported graph cuts the items instead
            return scores + self._pairs(people, things)
        if not torch.is_grad_enabled():
            return self._add_tiles(scores, people, things)
        a_query = math.prod(things.shape[:-1]) * self.width
        parts = torch.split(people, max(BUDGET // max(a_query, 1), 1), -2)
        return scores + torch.cat([self._chunk(part, things) for part in parts], dim=-2)

    def _add_tiles(
        self, scores: Float[Tensor, "*N Q C"], people: Float[Tensor, "*N Q H"], things: Float[Tensor, "*N C H"]
    ) -> Float[Tensor, "*N Q C"]:
        """The scores, with those of the network added in place: memory is what one tile takes."""
        a_query = math.prod(things.shape[:-2]) * min(TILE, things.shape[-2]) * self.width
        step = max(BUDGET // 4 // max(a_query, 1), 1)
        for query, item in itertools.product(range(0, people.shape[-2], step), range(0, things.shape[-2], TILE)):
            tile = ..., slice(query, query + step), slice(item, item + TILE)
            scores[tile] += self._pairs(people[..., tile[1], :], things[..., tile[2], :])
        return scores

    def _chunk(self, people: Tensor, things: Tensor) -> Tensor:
        scores: Tensor = checkpoint(self._pairs, people, things, use_reentrant=False)
        return scores

    def _pairs(self, people: Float[Tensor, "*N Q H"], things: Float[Tensor, "*N C H"]) -> Float[Tensor, "*N Q C"]:
        scores: Tensor = self.network(people[..., :, None, :] + things[..., None, :, :])
        return scores[..., 0]
