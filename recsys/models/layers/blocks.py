"""Transformer blocks: the two kinds with the best published results in sequential recommendation.

B users, N positions, Q query positions, D dimensions, H heads, F = feedforward × D hidden units.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.config.types import Positive
from recsys.models.layers.dropout import Dropout
from recsys.models.layers.positions import gather_positions, make_causal_mask
from recsys.models.layers.smoothing import Smoothing
from recsys.models.sasrec_defaults import get_default_settings

Bias = Float[Tensor, "#B H Q N"] | None
Mask = Float[Tensor, "#B H Q N"] | Bool[Tensor, "B 1 Q N"] | None


class Attention(nn.Module):
    """Causal self-attention; positions after the last real one are never projected at by real ones."""

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(f"dim={dim} is invalid: expected a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"] | None = None, bias: Bias = None
    ) -> Float[Tensor, "B Q D"]:
        """Attention from all positions, or only from `positions`, to positions up to their own.

        A `bias` is added to the logits; it must be −inf for later positions.
        """
        # (B N D) all positions are queries
        if positions is None:
            return self.out(self._attend_with_keys(x, x, bias))
        # (B 1 Q N) or (B H Q N) which positions each query attends to
        mask = make_causal_mask(positions, x.shape[1]) if bias is None else bias
        # (B Q D) the queries, attending in the cheaper of two ways
        few_queries = 2 * self.n_heads * positions.shape[1] <= x.shape[2]
        attend = self._attend_without_keys if few_queries else self._attend_with_keys
        return self.out(attend(gather_positions(x, positions), x, mask))

    def _attend_with_keys(
        self, query_input: Float[Tensor, "B Q D"], x: Float[Tensor, "B N D"], mask: Mask
    ) -> Float[Tensor, "B Q D"]:
        """The attended values (B Q D), from a key and a value for each position."""
        # (B N D) and (B N D) a key and a value for each position, (B H Q D/H) the queries
        key, value = self.key_value(x).chunk(2, dim=-1)
        query = self._split_heads(self.query(query_input))
        # (B H Q N) @ (B H N D/H) -> (B H Q D/H) the mean of the values, then the heads side by side (B Q D)
        mixed = F.scaled_dot_product_attention(
            query, self._split_heads(key), self._split_heads(value), attn_mask=mask, is_causal=mask is None
        )
        return mixed.transpose(1, 2).flatten(2)

    def _attend_without_keys(
        self, query_input: Float[Tensor, "B Q D"], x: Float[Tensor, "B N D"], mask: Tensor
    ) -> Float[Tensor, "B Q D"]:
        """The attended values (B Q D) without a key and a value for each position.

        q·(Wx + b) is (Wᵀq)·x plus a number that all positions share, which the softmax cancels; and the mean of values
        is the value of the mean.
        """
        (n_users, n_queries, dim), n_heads = query_input.shape, self.n_heads
        # (H D/H D) the weights that make keys and values, (H B·Q D/H) the queries
        to_key, to_value = self.key_value.weight.view(2, n_heads, dim // n_heads, dim)
        query = self.query(query_input).view(-1, n_heads, dim // n_heads).transpose(0, 1)
        # (H B·Q D/H) @ (H D/H D) -> (B 1 Q·H D) the queries, projected so that they attend to x itself
        projected = (query @ to_key).transpose(0, 1).reshape(n_users, 1, n_queries * n_heads, dim)
        mask = mask.expand(n_users, n_heads, n_queries, -1).transpose(1, 2).reshape(n_users, 1, n_queries * n_heads, -1)
        # (B 1 Q·H N) @ (B 1 N D) -> (B 1 Q·H D) the mean of x for each query and head
        mean_input = F.scaled_dot_product_attention(
            projected, x[:, None], x[:, None], attn_mask=mask, scale=(dim // n_heads) ** -0.5
        )
        # (H B·Q D) @ (H D D/H) -> (H B·Q D/H) its value, then the heads side by side (B Q D)
        mixed = mean_input.view(-1, n_heads, dim).transpose(0, 1) @ to_value.transpose(1, 2)
        return mixed.transpose(0, 1).reshape(n_users, n_queries, dim) + self.key_value.bias[dim:]

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)


class VanillaBlock(nn.Module):
    """Attention and a feed-forward layer of width `feedforward` × dim, each added to its input.

    Vaswani et al. (2017); Kang & McAuley, SASRec (2018). Normalisation comes before (`pre_norm`) or after each sum. A
    post-norm block mixes the attention's output with that of a running mean, whose weight is `smoothing`. Settings
    that are None get the defaults for short histories. Raises ValueError for `smoothing` with `pre_norm`.
    """

    def __init__(
        self,
        dim: int,
        n_heads: Positive = 2,
        feedforward: Positive | None = None,
        dropout: float | None = None,
        pre_norm: bool | None = None,
        smoothing: float | None = None,
    ) -> None:
        super().__init__()
        self.pre_norm = bool(pre_norm)
        defaults = get_default_settings(short_histories=True, pre_norm=self.pre_norm)
        feedforward = defaults["feedforward"] if feedforward is None else feedforward
        dropout = defaults["dropout"] if dropout is None else dropout
        self.smoothing_weight = defaults["smoothing"] if smoothing is None else smoothing
        if self.smoothing_weight and self.pre_norm:
            raise ValueError(f"smoothing={smoothing} needs a block that normalises after the sum; set pre_norm=false")
        self.attention = Attention(dim, n_heads)
        self.smoothing = Smoothing(dim) if self.smoothing_weight else None
        self.norm_3 = nn.LayerNorm(dim) if self.smoothing_weight else nn.Identity()
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.feedforward = nn.Sequential(
            nn.Linear(dim, feedforward * dim),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(feedforward * dim, dim),
        )
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"] | None = None, bias: Bias = None
    ) -> Float[Tensor, "B Q D"]:
        """The block's output at all positions, or only at `positions`."""
        # (B Q D) the input at the query positions
        query_input = x if positions is None else gather_positions(x, positions)
        # pre-norm: (B Q D) the input plus attention, then plus (B Q F) -> (B Q D) the feed-forward layer
        if self.pre_norm:
            x = query_input + self.dropout(self.attention(self.norm_1(x), positions, bias))
            return x + self.dropout(self.feedforward(self.norm_2(x)))
        # post-norm: (B Q D) the normalised sum of the input and attention, mixed with that of the running mean
        attended = self.norm_1(query_input + self.dropout(self.attention(x, positions, bias)))
        if self.smoothing is not None:
            smoothed = self.norm_3(query_input + self.dropout(self.smoothing(x, positions)))
            attended = torch.lerp(attended, smoothed, self.smoothing_weight)
        # (B Q F) -> (B Q D) the normalised sum with the feed-forward layer
        return self.norm_2(attended + self.dropout(self.feedforward(attended)))


class LigrBlock(nn.Module):
    """Pre-norm attention and SwiGLU of width `feedforward` × dim, each gated by a sigmoid of its input and added to it.

    Borisyuk et al., LiGR (2025).
    """

    pre_norm = True

    def __init__(
        self,
        dim: int,
        n_heads: Positive = 2,
        feedforward: Positive = 1,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        defaults = get_default_settings(short_histories=False, pre_norm=True)
        self.attention = Attention(dim, n_heads)
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.gate_1, self.gate_2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.inside = nn.Linear(dim, 2 * feedforward * dim)
        self.outside = nn.Linear(feedforward * dim, dim)
        self.dropout = Dropout(defaults["dropout"] if dropout is None else dropout)

    def forward(
        self, x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"] | None = None, bias: Bias = None
    ) -> Float[Tensor, "B Q D"]:
        """The block's output at all positions, or only at `positions`."""
        # (B Q D) the input at the query positions
        query_input = x if positions is None else gather_positions(x, positions)
        # (B Q D) attention, gated by the input, is added to the input
        attended = self.attention(self.norm_1(x), positions, bias)
        x = query_input + self.dropout(attended * torch.sigmoid(self.gate_1(query_input)))
        # (B Q 2F) -> (B Q F) and (B Q F) the two halves of SwiGLU, then (B Q D) its output, gated, is added
        gate, value = self.inside(self.norm_2(x)).chunk(2, dim=-1)
        return x + self.dropout(self.outside(self.dropout(F.silu(gate) * value)) * torch.sigmoid(self.gate_2(x)))


def default_block(dim: int, n_heads: Positive = 2, dropout: float | None = None) -> nn.Module:
    """The block for long histories; for short ones, `recsys.models.sasrec_defaults` replaces it with a VanillaBlock."""
    return LigrBlock(dim, n_heads, dropout=dropout)
