"""Transformer blocks: the two that records on sequential recommendation were set with.

B users, N positions, Q positions that are asked, D dimensions, H heads.
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
            raise ValueError(f"dim={dim} must be a multiple of n_heads={n_heads}")
        self.n_heads = n_heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self, x: Float[Tensor, "B N D"], positions: Int[Tensor, "B Q"] | None = None, bias: Bias = None
    ) -> Float[Tensor, "B Q D"]:
        """Attention of all positions, or of those in `ask` only, to positions up to their own; a `bias` of the logits
        says by −inf which those are.
        """
        if positions is None:
            return self.out(self._attend_with_keys(x, x, bias))
        mask = make_causal_mask(positions, x.shape[1]) if bias is None else bias
        few_queries = 2 * self.n_heads * positions.shape[1] <= x.shape[2]
        attend = self._attend_without_keys if few_queries else self._attend_with_keys
        return self.out(attend(gather_positions(x, positions), x, mask))

    def _attend_with_keys(
        self, query_input: Float[Tensor, "B Q D"], x: Float[Tensor, "B N D"], mask: Mask
    ) -> Float[Tensor, "B Q D"]:
        key, value = self.key_value(x).chunk(2, dim=-1)
        query = self._split_heads(self.query(query_input))
        mixed = F.scaled_dot_product_attention(
            query, self._split_heads(key), self._split_heads(value), attn_mask=mask, is_causal=mask is None
        )
        return mixed.transpose(1, 2).flatten(2)

    def _attend_without_keys(
        self, query_input: Float[Tensor, "B Q D"], x: Float[Tensor, "B N D"], mask: Tensor
    ) -> Float[Tensor, "B Q D"]:
        """The same without a key and a value for every position: q·(Wx + b) is (Wᵀq)·x and what all positions share,
        which softmax cancels; a mean of values is the value of the mean.
        """
        (n_users, n_queries, dim), n_heads = query_input.shape, self.n_heads
        to_key, to_value = self.key_value.weight.view(2, n_heads, dim // n_heads, dim)
        query = self.query(query_input).view(-1, n_heads, dim // n_heads).transpose(0, 1)  # heads first
        projected = (query @ to_key).transpose(0, 1).reshape(n_users, 1, n_queries * n_heads, dim)
        mask = mask.expand(n_users, n_heads, n_queries, -1).transpose(1, 2).reshape(n_users, 1, n_queries * n_heads, -1)
        mean_input = F.scaled_dot_product_attention(
            projected, x[:, None], x[:, None], attn_mask=mask, scale=(dim // n_heads) ** -0.5
        )
        mixed = mean_input.view(-1, n_heads, dim).transpose(0, 1) @ to_value.transpose(1, 2)
        return mixed.transpose(0, 1).reshape(n_users, n_queries, dim) + self.key_value.bias[dim:]

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)


class VanillaBlock(nn.Module):
    """Attention and a feed-forward layer of width `feedforward` × dim, each added to its input, normalised
    before (`pre_norm`) or after; then a share `smoothing` of the first sum is one with a running mean instead. Vaswani
    et al. (2017); Kang & McAuley, SASRec (2018). What is None is as records on sets of `short` or of long histories
    were set with. Raises ValueError for `smoothing` with `pre_norm`.
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
            raise ValueError(f"smoothing={smoothing} is for blocks that normalise after; set pre_norm=false")
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
        """The block's output at all positions, or at those in `ask`."""
        query_input = x if positions is None else gather_positions(x, positions)
        if self.pre_norm:
            x = query_input + self.dropout(self.attention(self.norm_1(x), positions, bias))
            return x + self.dropout(self.feedforward(self.norm_2(x)))
        attended = self.norm_1(query_input + self.dropout(self.attention(x, positions, bias)))
        if self.smoothing is not None:
            smoothed = self.norm_3(query_input + self.dropout(self.smoothing(x, positions)))
            attended = torch.lerp(attended, smoothed, self.smoothing_weight)
        return self.norm_2(attended + self.dropout(self.feedforward(attended)))


class LigrBlock(nn.Module):
    """Pre-norm attention and SwiGLU of width `feedforward` × dim, each gated by a sigmoid of its input before it is
    added. Borisyuk et al., LiGR (2025).
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
        """The block's output at all positions, or at those in `ask`."""
        query_input = x if positions is None else gather_positions(x, positions)
        attended = self.attention(self.norm_1(x), positions, bias)
        x = query_input + self.dropout(attended * torch.sigmoid(self.gate_1(query_input)))
        gate, value = self.inside(self.norm_2(x)).chunk(2, dim=-1)
        return x + self.dropout(self.outside(self.dropout(F.silu(gate) * value)) * torch.sigmoid(self.gate_2(x)))


def default_block(dim: int, n_heads: Positive = 2, dropout: float | None = None) -> nn.Module:
    """The block for long histories; `recsys.models.sasrec_defaults` puts a VanillaBlock in its place for short ones."""
    return LigrBlock(dim, n_heads, dropout=dropout)
