"""Cross-entropy over the full catalogue.

M queries, T targets, I items with padding (item 0), D dimensions, L history slots.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.config.types import Positive
from recsys.losses.inputs import LossInputs

ROW_MULTIPLE = 32
"""Queries are padded to a multiple of it, because oneDNN compiles and keeps code for every new size."""


class Softmax(nn.Module):
    """Exact cross-entropy over the full catalogue, which never holds more than `chunk` rows of logits.

    Products are computed in bfloat16 if `bfloat16` is true (None: if the processor multiplies it natively), sums in
    float32.
    """

    def __init__(self, chunk: Positive = 256, bfloat16: bool | None = None) -> None:
        super().__init__()
        self.chunk = chunk
        self.products_in_bfloat16 = bfloat16

    def forward(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """The sum over targets of weight × −log softmax, without padding."""
        if not inputs.scorer.dot_product:
            return self._compute_at_once(inputs)
        slot_items, slot_scores = inputs.slots or (None, None)
        targets = _SoftmaxTargets(
            inputs.targets,
            inputs.target_query,
            inputs.target_weights(),
            slot_items,
            self.chunk,
            inputs.chunk_edges(self.chunk),
            self._choose_product_dtype(inputs.queries),
        )
        return _ChunkedSoftmax.apply(inputs.queries, inputs.scorer.item_vectors(), slot_scores, targets)  # type: ignore[no-untyped-call]

    def _choose_product_dtype(self, queries: Tensor) -> torch.dtype:
        """The type of the products: that of autocast if it is on."""
        device = queries.device.type
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
        use_bfloat16 = self.products_in_bfloat16
        if use_bfloat16 is None:
            use_bfloat16 = device == "cpu" and queries.dtype == torch.float32 and has_bfloat16_products()
        return torch.bfloat16 if use_bfloat16 else queries.dtype

    @staticmethod
    def _compute_at_once(inputs: LossInputs) -> Float[Tensor, ""]:
        """The same loss for any scorer, from all logits at once."""
        items = torch.arange(1, len(inputs.item_counts), device=inputs.targets.device)
        log_p = inputs.candidate_scores(items).float().log_softmax(dim=1)
        return -(inputs.target_weights() * log_p[inputs.target_query, inputs.targets - 1]).sum()


class _SoftmaxTargets(NamedTuple):
    """The inputs of the chunked softmax that get no gradient."""

    items: Int[Tensor, " T"]
    queries: Int[Tensor, " T"]
    """the query of each target, in ascending order"""
    weights: Float[Tensor, " T"]
    slot_items: Int[Tensor, "M L"] | None
    chunk: int
    """queries whose logits are held at once"""
    edges: list[int]
    """where the targets of each chunk start, and where the last end"""
    product_dtype: torch.dtype


class _ChunkedSoftmax(torch.autograd.Function):
    """Computes the gradient in the forward pass, while a chunk of logits is still in the cache.

    Products are of type `product_dtype`, everything between them of float32 or wider. K queries of a chunk, S targets
    of a chunk.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "M D"],
        items: Float[Tensor, "I D"],
        slot_scores: Float[Tensor, "M L"] | None,
        targets: _SoftmaxTargets,
    ) -> Tensor:
        dtypes = [None if x is None else x.dtype for x in (queries, items, slot_scores)]
        product_dtype, sum_dtype = targets.product_dtype, torch.promote_types(targets.product_dtype, torch.float32)
        # (P D) the queries, padded to P rows, (D I) the items as columns
        n_queries, queries, items = len(queries), _pad_rows(queries.to(product_dtype)), items.to(product_dtype)
        columns = items.T.contiguous()
        # () the loss, and the gradients of queries, items (as columns) and slot scores
        total = queries.new_zeros((), dtype=sum_dtype)
        query_gradient, column_gradient = torch.empty_like(queries), torch.zeros_like(columns, dtype=sum_dtype)
        slot_gradient = None if slot_scores is None else torch.empty_like(slot_scores)
        # (T) the weight of each target, (P) the sum of the weights of each query's targets
        weights = targets.weights.to(sum_dtype)
        total_weight = total.new_zeros(len(queries)).index_add_(0, targets.queries, weights)
        for n, start in enumerate(range(0, n_queries, targets.chunk)):
            rows, chunk = slice(start, start + targets.chunk), slice(targets.edges[n], targets.edges[n + 1])
            # (K I) the logits, with what each history slot adds to its item
            logits = (queries[rows] @ columns).to(sum_dtype)
            if targets.slot_items is not None and slot_scores is not None:
                logits.scatter_add_(1, targets.slot_items[rows], slot_scores[rows].to(sum_dtype))
            # (K I) the gradient of the logits, in the memory of the logits
            target_at = targets.queries[chunk] - start, targets.items[chunk]
            loss, gradient = _differentiate_logits(logits, target_at, weights[chunk], total_weight[rows])
            total += loss
            # (K I) @ (I D) -> (K D) for the queries, (D K) @ (K I) -> (D I) for the items, (K L) for the slots
            rounded = gradient.to(product_dtype)
            torch.mm(rounded, items, out=query_gradient[rows])
            column_gradient += queries[rows].T @ rounded  # much faster than the tall, transposed product
            if slot_gradient is not None and targets.slot_items is not None:
                slot_gradient[rows] = gradient.gather(1, targets.slot_items[rows])
        gradients = zip((query_gradient[:n_queries], column_gradient.T, slot_gradient), dtypes, strict=True)
        ctx.save_for_backward(*(gradient.to(dtype) for gradient, dtype in gradients if gradient is not None))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query_gradient, item_gradient, *slot_gradient = (grad_output * saved for saved in ctx.saved_tensors)
        return query_gradient, item_gradient, *(slot_gradient or [None]), None


def _differentiate_logits(
    logits: Float[Tensor, "K I"],
    target_at: tuple[Int[Tensor, " S"], Int[Tensor, " S"]],
    weights: Float[Tensor, " S"],
    total_weight: Float[Tensor, " K"],
) -> tuple[Float[Tensor, ""], Float[Tensor, "K I"]]:
    """The loss of a chunk and the gradient of its logits, which overwrites them; `target_at` is (row, item)."""
    # (K I) padding gets no probability; the largest logit becomes 0, so that no exponential overflows
    logits[:, 0] = -torch.inf
    logits -= logits.amax(dim=1, keepdim=True)
    # (S) the logit of each target, (K) the sum of the exponentials of each row
    target_logits = logits[target_at]
    sums = logits.exp_().sum(dim=1)
    # () the loss: weight × (log of the sum − logit of the target)
    loss = (weights * (sums.log()[target_at[0]] - target_logits)).sum()
    # (K I) the gradient: probability × weight of the query's targets, less the weight at each target
    gradient = logits.mul_((total_weight / sums)[:, None])
    gradient.index_put_(target_at, -weights, accumulate=True)
    return loss, gradient


def _pad_rows(queries: Float[Tensor, "M D"]) -> Float[Tensor, "P D"]:
    """The queries, with rows of zeros below that have no target and no weight."""
    return F.pad(queries, (0, 0, 0, -len(queries) % ROW_MULTIPLE))


def has_bfloat16_products() -> bool:
    """Whether this processor has instructions for bfloat16 products, which take less than half the time."""
    return bool(torch.cpu._is_avx512_bf16_supported())
