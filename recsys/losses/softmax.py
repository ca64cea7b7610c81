"""Cross-entropy over the full catalogue.

M queries, T targets, I items with padding (item 0), D dimensions, L slots a query.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recsys.config.types import Positive
from recsys.losses.inputs import LossInputs

ROWS = 32
"""Queries are filled up to a multiple of it: oneDNN keeps code of its own for every size that it has met."""


class Softmax(nn.Module):
    """Cross-entropy over the full catalogue, exact, never holding more than `chunk` rows of logits. Products are of
    bfloat16 where `bfloat16` says so, by default on processors that multiply it natively, and sums of float32.
    """

    def __init__(self, chunk: Positive = 256, bfloat16: bool | None = None) -> None:
        super().__init__()
        self.chunk = chunk
        self.products_in_bfloat16 = bfloat16

    def forward(self, inputs: LossInputs) -> Float[Tensor, ""]:
        """The sum over targets of weight × −log softmax, padding left out."""
        if not inputs.scorer.dot_product:
            return self._plain(inputs)
        slot_items, slot_scores = inputs.slots or (None, None)
        return _ChunkedSoftmax.apply(  # type: ignore[no-untyped-call]
            inputs.queries,
            inputs.scorer.item_vectors(),
            slot_scores,
            slot_items,
            inputs.targets,
            inputs.target_query,
            inputs.target_weights(),
            self.chunk,
            inputs.chunk_edges(self.chunk),
            self._kind(inputs.queries),
        )

    def _kind(self, queries: Tensor) -> torch.dtype:
        """The type of products: autocast's where it is on."""
        device = queries.device.type
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
        rounded = self.products_in_bfloat16
        if rounded is None:
            rounded = device == "cpu" and queries.dtype == torch.float32 and has_bfloat16_products()
        return torch.bfloat16 if rounded else queries.dtype

    @staticmethod
    def _plain(inputs: LossInputs) -> Float[Tensor, ""]:
        """The same for any scorer, all logits at once."""
        items = torch.arange(1, len(inputs.item_counts), device=inputs.targets.device)
        log_p = inputs.candidate_scores(items).float().log_softmax(dim=1)
        return -(inputs.target_weights() * log_p[inputs.target_query, inputs.targets - 1]).sum()


class _ChunkedSoftmax(torch.autograd.Function):
    """Takes the gradient in the forward pass, while a chunk of logits is still in the cache; products are of type
    `kind`, all between them float32 at least.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        items: Tensor,
        slot_scores: Tensor | None,
        slot_items: Tensor | None,
        target: Tensor,
        target_query: Tensor,
        weight: Tensor,
        chunk: int,
        edges: list[int],
        kind: torch.dtype,
    ) -> Tensor:
        kinds = [None if x is None else x.dtype for x in (queries, items, slot_scores)]
        full = torch.promote_types(kind, torch.float32)
        n_queries, queries, items = len(queries), _filled(queries.to(kind)), items.to(kind)
        columns = items.T.contiguous()
        total = queries.new_zeros((), dtype=full)
        of_queries, of_columns = torch.empty_like(queries), torch.zeros_like(columns, dtype=full)
        of_slots = None if slot_scores is None else torch.empty_like(slot_scores)
        weight = weight.to(full)
        mass = total.new_zeros(len(queries)).index_add_(0, target_query, weight)
        for n, start in enumerate(range(0, n_queries, chunk)):
            rows, mine = slice(start, start + chunk), slice(edges[n], edges[n + 1])
            row, own_weight = target_query[mine] - start, weight[mine]
            logits = (queries[rows] @ columns).to(full)
            if slot_items is not None and slot_scores is not None:
                logits.scatter_add_(1, slot_items[rows], slot_scores[rows].to(full))
            logits[:, 0] = -torch.inf
            logits -= logits.amax(dim=1, keepdim=True)
            own = logits[row, target[mine]]
            sums = logits.exp_().sum(dim=1)
            total += (own_weight * (sums.log()[row] - own)).sum()
            gradient = logits.mul_((mass[rows] / sums)[:, None])
            gradient.index_put_((row, target[mine]), -own_weight, accumulate=True)
            share = gradient.to(kind)
            torch.mm(share, items, out=of_queries[rows])
            of_columns += queries[rows].T @ share  # far quicker than the gradient's own, tall and transposed
            if of_slots is not None and slot_items is not None:
                of_slots[rows] = gradient.gather(1, slot_items[rows])
        found = zip((of_queries[:n_queries], of_columns.T, of_slots), kinds, strict=True)
        ctx.save_for_backward(*(gradient.to(kind) for gradient, kind in found if gradient is not None))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        of_queries, of_items, *of_slots = (grad_output * saved for saved in ctx.saved_tensors)
        return of_queries, of_items, *(of_slots or [None]), *[None] * 7


def _filled(queries: Tensor) -> Tensor:
    """With zeros below, which nothing asks for and no weight falls on."""
    return F.pad(queries, (0, 0, 0, -len(queries) % ROWS))


def has_bfloat16_products() -> bool:
    """Whether this processor has instructions for products of bfloat16, which then take less than half the time."""
    return bool(torch.cpu._is_avx512_bf16_supported())
