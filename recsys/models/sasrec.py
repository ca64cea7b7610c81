"""Self-attentive sequential recommendation: predicts the next item from the order of the earlier ones.

Kang & McAuley (2018), trained with full softmax as in Klenitskiy & Vasilev (2023).

B users, L history slots, N = L + 1 positions with the start token, Q queries per user, I items with padding,
D dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.config.types import Positive
from recsys.models.base import DataSpec, ModelInputs, Trainable, make_repeat_bonus
from recsys.models.layers.attention_bias import (
    N_BUCKETS,
    AttentionBias,
    check_time_bias,
    compute_pause_buckets,
    prepend_start,
)
from recsys.models.layers.dropout import Dropout
from recsys.models.layers.embedding import ContextEmbedding, FeatureEmbedding, MatrixRows, make_embedding, read_vectors
from recsys.models.layers.positions import gather_positions
from recsys.models.sasrec_defaults import fill_nulls, get_default_settings, resolve_defaults


class SASRec(Trainable):
    """`n_blocks` causal transformer blocks over item vectors and learned positions.

    Positions count back from the newest event; a start token stands for an empty history. The output is scored against
    the same item vectors (`tied`) or against a second table. `scale` multiplies item vectors by √dim; `embedding_norm`
    normalises the input, `final_norm` the output. `relative_position` and `time_bias` let attention weigh how far back
    an event is and how long ago, in the last block as seen from the time of the request; with `time_bias`, each event
    also knows how long after it the next event, or the request, came. Context is added to the output; a fraction
    `context_dropout` of the values of each column is trained as unknown. `sparse`: tables get gradients only for the
    rows that were read. Settings that are None depend on the length of histories (`DataSpec.short_histories`) and on
    where the blocks normalise: `recsys.models.sasrec_defaults` has both sets of values.
    """

    order_aware = True

    def __init__(
        self,
        spec: DataSpec,
        block: Callable[..., nn.Module],
        dim: Positive | None = None,
        n_blocks: Positive = 2,
        dropout: float | None = None,
        scale: bool | None = None,
        embedding_norm: bool | None = None,
        final_norm: bool | None = None,
        tied: bool = True,
        context_dropout: float = 0.2,
        repeat: bool | None = None,
        half_lives: Sequence[float] = (7, 30, 90, 365),
        relative_position: bool | None = None,
        time_bias: bool = False,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        dim = get_default_settings(spec.short_histories, pre_norm=True)["dim"] if dim is None else dim
        self.blocks = nn.ModuleList(block(dim) for _ in range(n_blocks))
        defaults = get_default_settings(spec.short_histories, bool(getattr(self.blocks[-1], "pre_norm", True)))
        norms = {"scale": scale, "embedding_norm": embedding_norm, "final_norm": final_norm}
        settings = fill_nulls({"dropout": dropout, "relative_position": relative_position, **norms}, defaults)
        relative_position = settings["relative_position"]
        self.scale = dim**0.5 if settings["scale"] else 1.0
        self.item: nn.Embedding | MatrixRows = make_embedding(spec.n_items + 1, dim, sparse=sparse)
        self.output: nn.Embedding | MatrixRows = (
            self.item if tied else make_embedding(spec.n_items + 1, dim, sparse=sparse)
        )
        self.position = nn.Embedding(spec.max_history + 1, dim)
        nn.init.normal_(self.position.weight, std=0.02)
        self.start = nn.Parameter(torch.randn(dim) * 0.02)
        self.context = ContextEmbedding(spec.context, dim, context_dropout)
        self.event = FeatureEmbedding({"event": spec.event} if spec.event else {}, dim)
        self.dropout = Dropout(settings["dropout"])
        self.embedding_norm = nn.LayerNorm(dim) if settings["embedding_norm"] else nn.Identity()
        check_time_bias(spec, time_bias)
        self.pause = make_embedding(N_BUCKETS, dim) if time_bias else None
        self.biases = nn.ModuleList(
            AttentionBias(block.attention.n_heads, spec.max_history + 1, relative_position, time_bias)  # type: ignore[union-attr, arg-type]
            for block in self.blocks
            if relative_position or time_bias
        )
        self.final_norm = nn.LayerNorm(dim) if settings["final_norm"] else nn.Identity()
        self.repeat = make_repeat_bonus(spec, repeat, half_lives, sparse)

    @staticmethod
    def resolve_defaults(settings: Mapping[str, Any], spec: DataSpec) -> dict[str, Any]:
        """The settings, with every null that depends on the length of histories replaced by its value."""
        return resolve_defaults(settings, spec.short_histories)

    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... D"]:
        """The vectors of some items; of all items, padding first, if `items` is None."""
        return read_vectors(self.output, items)

    def fold(self, matrix: Float[Tensor, "I D"]) -> None:
        """Read item vectors from `matrix` from now on, in the history too if the tables are tied."""
        tied = self.output is self.item
        self.output = MatrixRows(matrix)
        self.item = self.output if tied else self.item

    def encode(self, inputs: ModelInputs) -> Float[Tensor, "B Q D"]:
        """The query vectors: the output at each query position plus the context of its request."""
        history, positions = inputs.history, inputs.query_positions
        # (B L D) the vector of each event: of its item, plus of its type
        events = self.item(history) * self.scale + self.event(inputs.events)
        # (B N D) the start token in front of the events
        x = torch.cat([self.start.expand(history.shape[0], 1, -1), events], dim=1)
        # (B N) the time of each position and (B Q) of each request, in seconds
        event_times, request_times = prepend_start(inputs.events.get("timestamp")), inputs.request.get("timestamp")
        # (B N D) the vector of the time until the next event or request is added
        if self.pause is not None:
            assert event_times is not None and request_times is not None
            x = x + self.pause(compute_pause_buckets(event_times, request_times, positions)) * self.scale
        # (B N D) the vector of the position, counted back from the newest event, is added; norm and dropout
        x = self.dropout(self.embedding_norm(x + self.position(count_positions_from_end(history))))
        # (B Q D) the blocks; the last one computes the query positions only
        if self.biases:
            x = self._apply_biased_blocks(x, event_times, request_times, positions)
        else:
            x = self._apply_blocks(x, positions)
        # (B Q D) the vector of the request's context is added to the output
        return self.final_norm(x) + self.context(inputs.request)

    def _apply_blocks(self, x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
        for block in self.blocks[:-1]:
            x = block(x)
        at_all_positions = positions.shape[1] == x.shape[1]  # as in training without baskets
        return gather_positions(self.blocks[-1](x), positions) if at_all_positions else self.blocks[-1](x, positions)

    def _apply_biased_blocks(
        self,
        x: Float[Tensor, "B N D"],
        event_times: Int[Tensor, "B N"] | None,
        request_times: Int[Tensor, "B Q"] | None,
        positions: Int[Tensor, "B Q"],
    ) -> Float[Tensor, "B Q D"]:
        """The output of the blocks, with a bias of attention by distance and time.

        Elapsed time is counted from a position's own event, and in the last block from its request: no later block
        reads that output, so no other query learns the time of the request.
        """
        n = x.shape[1]
        all_positions = torch.arange(n, device=x.device)[None]
        for block, bias in zip(self.blocks[:-1], self.biases[:-1], strict=True):
            x = block(x, None, bias(all_positions, event_times, event_times, n))
        return self.blocks[-1](x, positions, self.biases[-1](positions, request_times, event_times, n))


def count_positions_from_end(history: Int[Tensor, "B L"]) -> Int[Tensor, "B N"]:
    """The position of each event, counted back: 0 for the newest; the start token comes before the oldest."""
    length = (history > 0).sum(dim=1, keepdim=True)
    position = torch.arange(history.shape[1] + 1, device=history.device)
    return (length - position).clamp(min=0)
