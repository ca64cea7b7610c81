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

from recsys.data.dataset import Dataset
from recsys.models.base import Columns, Facts, Trainable
from recsys.models.embedding import FeatureEmbedding, initialised
from recsys.models.repeat import Repeat


class TwoTower(Trainable):
    """User tower: the history's items, user features, context of the request, and (`user_id`) a row for each user.
    Item tower: id and features, plus a learned popularity. `repeat` (None: where the data rank repeats) mixes in the
    user's own decayed counts; a share `id_dropout` of users is trained as unknown, so that nobody new is refused.
    """

    def __init__(
        self,
        facts: Facts,
        dim: int = 64,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.3,
        user_id: bool = False,
        id_dropout: float = 0.1,
        repeat: bool | None = None,
        half_lives: Sequence[float] = (7, 30, 90, 365),
    ) -> None:
        super().__init__()
        self.id_dropout = id_dropout
        self.item = initialised(facts.n_items + 1, dim)
        self.popularity = nn.Parameter(torch.zeros(facts.n_items + 1))
        self.item_features = FeatureEmbedding(facts.item, dim)
        self.user = initialised(facts.n_users + 1, dim) if user_id else None
        self.user_features = FeatureEmbedding(facts.user, dim)
        self.context = FeatureEmbedding(facts.context, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        widths = [3 * dim, *hidden]
        self.tower = nn.Sequential(
            *(
                layer
                for i, o in itertools.pairwise(widths)
                for layer in (nn.Linear(i, o), nn.GELU(), nn.Dropout(dropout))
            ),
            nn.Linear(widths[-1], dim),
        )
        repeats = facts.repeats if repeat is None else repeat
        self.repeat = Repeat(facts.n_items, half_lives, facts.has_time) if repeats else None
        for name, encoder in facts.item.items():
            kind = torch.long if encoder.kind == "category" else torch.float32
            self.register_buffer(f"item_{name}", torch.zeros(facts.n_items + 1, encoder.width, dtype=kind))

    def prepare(self, dataset: Dataset) -> None:
        """Take the item features and start popularity at the log of the counts."""
        for name, array in dataset.features("item").items():
            buffer = getattr(self, f"item_{name}")
            buffer.copy_(torch.from_numpy(np.array(array[: dataset.n_items + 1])))
        counts = torch.from_numpy(np.array(dataset.item_counts, dtype=np.float32))
        with torch.no_grad():
            self.popularity.copy_(torch.log(counts + 1) - torch.log(counts + 1).mean())

    def content(self) -> Float[Tensor, "I D"]:
        """Item vectors without the popularity column."""
        columns = {name: getattr(self, f"item_{name}") for name in self.item_features.tables}
        return self.item.weight + self.item_features(columns)

    def item_vectors(self) -> Float[Tensor, "I E"]:
        """Item vectors with the popularity as last column."""
        return torch.cat([self.content(), self.popularity[:, None]], dim=1)

    def encode(
        self,
        user: Columns,
        history: Int[Tensor, "B L"],
        events: Columns,  # noqa: ARG002 - what was had counts here, not how
        request: Columns,
        ask: Int[Tensor, "B Q"],
    ) -> Float[Tensor, "B Q E"]:
        """The query vectors, with 1 as last column."""
        pooled = self._pool(history, ask)
        person = self.user_features({name: user[name] for name in self.user_features.tables})
        if self.user is not None:
            person = person + self.user(self._dropped(user["id"]))
        person = torch.zeros_like(pooled[:, 0]) + person
        moment = torch.zeros_like(pooled) + self.context({name: request[name] for name in self.context.tables})
        query = pooled + self.tower(torch.cat([pooled, person[:, None].expand_as(pooled), moment], dim=-1))
        return torch.cat([query, torch.ones_like(query[..., :1])], dim=-1)

    def _pool(self, history: Int[Tensor, "B L"], ask: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
        """Mean over the first `ask` items, scaled up by the root of their number as sums of noise are."""
        vectors = nn.functional.embedding(history, self.content())
        sums = torch.cat([self.start.expand(len(history), 1, -1), vectors], dim=1).cumsum(dim=1)
        taken = sums.gather(1, ask[:, :, None].expand(-1, -1, sums.shape[2]))
        return taken / (ask + 1).sqrt()[:, :, None]

    def _dropped(self, ids: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        if not self.training or self.id_dropout == 0:
            return ids
        return ids * (torch.rand(ids.shape, device=ids.device) >= self.id_dropout)
