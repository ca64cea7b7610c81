"""Self-attentive sequential recommendation: the next item from the order of those before.

B users, L history slots, Q queries a user, I items with padding, D dimensions. Kang & McAuley (2018), trained
with full softmax as in Klenitskiy & Vasilev (2023).
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from recsys.config.types import Positive
from recsys.models.base import Columns, Facts, Trainable
from recsys.models.layers.attention_bias import N_BUCKETS, AttentionBias, after_start, check_times, pauses
from recsys.models.layers.blocks import usual_dropout
from recsys.models.layers.dropout import Dropout
from recsys.models.layers.embedding import Context, FeatureEmbedding, Rows, initialised, vectors
from recsys.models.layers.positions import gather
from recsys.models.repeat import Repeat


class SASRec(Trainable):
    """`n_blocks` transformer blocks over item vectors and learned positions that count back from the newest
    event; the output is scored against the same item vectors (`tied`) or a table of its own. A start token
    answers for users without history. `scale` multiplies item vectors by √dim; `embedding_norm` normalises the input
    and `final_norm` the output. `relative_position` and `time_bias` let attention weigh how far back an event is and
    how long ago, in the last block counted from the moment of the request; with `time_bias`, events also know how
    soon the next one, or the request, came. Context is added to the output alone, a share `context_dropout` of the
    values of each column trained as unknown. `sparse`: tables get gradients only where they were read. What is None is
    as post-norm blocks want it, or pre-norm ones (`scale` and both norms), or as short histories do (`Facts.short`), or
    long ones.
    """

    order_aware = True

    def __init__(
        self,
        facts: Facts,
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
        dim = (64 if facts.short else 128) if dim is None else dim
        relative_position = _either(relative_position, not facts.short)
        self.blocks = nn.ModuleList(block(dim, short=facts.short) for _ in range(n_blocks))
        pre_norm = bool(getattr(self.blocks[-1], "pre_norm", True))
        self.scale = dim**0.5 if _either(scale, pre_norm) else 1.0
        self.item: nn.Embedding | Rows = initialised(facts.n_items + 1, dim, sparse=sparse)
        self.output: nn.Embedding | Rows = self.item if tied else initialised(facts.n_items + 1, dim, sparse=sparse)
        self.position = nn.Embedding(facts.max_history + 1, dim)
        nn.init.normal_(self.position.weight, std=0.02)
        self.start = nn.Parameter(torch.randn(dim) * 0.02)
        self.context = Context(facts.context, dim, context_dropout)
        self.event = FeatureEmbedding({"event": facts.event} if facts.event else {}, dim)
        self.dropout = Dropout(usual_dropout(dropout, facts.short))
        self.embedding_norm = nn.LayerNorm(dim) if _either(embedding_norm, not pre_norm) else nn.Identity()
        check_times(facts, time_bias)
        self.pause = initialised(N_BUCKETS, dim) if time_bias else None
        self.biases = nn.ModuleList(
            AttentionBias(block.attention.n_heads, facts.max_history + 1, relative_position, time_bias)  # type: ignore[union-attr, arg-type]
            for block in self.blocks
            if relative_position or time_bias
        )
        self.final_norm = nn.LayerNorm(dim) if _either(final_norm, pre_norm) else nn.Identity()
        repeats = facts.repeats if repeat is None else repeat
        self.repeat = Repeat(facts.n_items, half_lives, facts.has_time, facts.n_types, sparse) if repeats else None

    def item_vectors(self, items: Int[Tensor, "*N"] | None = None) -> Float[Tensor, "... D"]:
        """The vectors of some items, or (I, D) of all, padding first."""
        return vectors(self.output, items)

    def fold(self, matrix: Float[Tensor, "I D"]) -> None:
        """Read item vectors from `matrix` alone."""
        tied = self.output is self.item
        self.output = Rows(matrix)
        self.item = self.output if tied else self.item

    def encode(
        self,
        user: Columns,  # noqa: ARG002 - a sequence speaks for its user
        history: Int[Tensor, "B L"],
        events: Columns,
        request: Columns,
        ask: Int[Tensor, "B Q"],
    ) -> Float[Tensor, "B Q D"]:
        """The query vectors: the output at each asked position, plus the context of its request."""
        items = self.item(history) * self.scale + self.event(events)
        x = torch.cat([self.start.expand(history.shape[0], 1, -1), items], dim=1)
        times, now = after_start(events.get("timestamp")), request.get("timestamp")
        if self.pause is not None:
            assert times is not None and now is not None
            x = x + self.pause(pauses(times, now, ask)) * self.scale
        x = self.dropout(self.embedding_norm(x + self.position(places_from_end(history))))
        x = self._with_biases(x, times, now, ask) if self.biases else self._plain(x, ask)
        return self.final_norm(x) + self.context(request)

    def _plain(self, x: Float[Tensor, "B N D"], ask: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q D"]:
        for block in self.blocks[:-1]:
            x = block(x)
        everywhere = ask.shape[1] == x.shape[1]  # as in training without baskets: no need to gather
        return gather(self.blocks[-1](x), ask) if everywhere else self.blocks[-1](x, ask)

    def _with_biases(
        self, x: Float[Tensor, "B N D"], times: Tensor | None, now: Tensor | None, ask: Int[Tensor, "B Q"]
    ) -> Float[Tensor, "B Q D"]:
        """A position looks back from its own event; only in the last block, where nobody looks at it, from the moment
        of the request, which earlier queries must not know.
        """
        n = x.shape[1]
        everywhere = torch.arange(n, device=x.device)[None]
        for block, bias in zip(self.blocks[:-1], self.biases[:-1], strict=True):
            x = block(x, None, bias(everywhere, times, times, n))
        return self.blocks[-1](x, ask, self.biases[-1](ask, now, times, n))


def _either(given: bool | None, usual: bool) -> bool:
    return usual if given is None else given


def places_from_end(history: Int[Tensor, "B L"]) -> Int[Tensor, "B N"]:
    """0 for the newest event, 1 for the one before, …; the start token comes before the oldest."""
    length = (history > 0).sum(dim=1, keepdim=True)
    place = torch.arange(history.shape[1] + 1, device=history.device)
    return (length - place).clamp(min=0)
