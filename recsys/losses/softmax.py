"""Cross-entropy over the full catalogue.

M queries, T targets, I items with padding (item 0), D dimensions, L slots a query.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recsys.losses.question import Question


class Softmax(nn.Module):
    """Cross-entropy over the full catalogue, exact, never holding more than `chunk` rows of logits."""

    def __init__(self, chunk: int = 256) -> None:
        super().__init__()
        self.chunk = chunk

    def forward(self, question: Question) -> Float[Tensor, ""]:
        """The sum over targets of weight × −log softmax, padding left out."""
        if not question.scorer.dot_product:
            return self._plain(question)
        slot_items, slot_scores = question.slots or (None, None)
        return _ChunkedSoftmax.apply(  # type: ignore[no-untyped-call]
            question.queries,
            question.scorer.item_vectors(),
            slot_scores,
            slot_items,
            question.target,
            question.target_query,
            question.weights,
            self.chunk,
            question.edges(self.chunk),
        )

    @staticmethod
    def _plain(question: Question) -> Float[Tensor, ""]:
        """The same for any scorer, all logits at once."""
        items = torch.arange(1, len(question.item_counts), device=question.target.device)
        log_p = question.candidate_scores(items).float().log_softmax(dim=1)
        return -(question.weights * log_p[question.target_query, question.target - 1]).sum()


class _ChunkedSoftmax(torch.autograd.Function):
    """Takes the gradient in the forward pass, while a chunk of logits is still in the cache; under autocast the
    products are of its type, all between them float32.
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
    ) -> Tensor:
        kinds = [None if x is None else x.dtype for x in (queries, items, slot_scores)]
        queries, items, full = _as_multiplied(queries, items)
        total = queries.new_zeros((), dtype=full)
        of_queries, of_items = torch.empty_like(queries), torch.zeros_like(items, dtype=full)
        of_slots = None if slot_scores is None else torch.empty_like(slot_scores)
        weight = weight.to(full)
        mass = total.new_zeros(len(queries)).index_add_(0, target_query, weight)
        for n, start in enumerate(range(0, len(queries), chunk)):
            rows, mine = slice(start, start + chunk), slice(edges[n], edges[n + 1])
            logits = _product(queries[rows], items.T, full)
            if slot_items is not None and slot_scores is not None:
                logits.scatter_add_(1, slot_items[rows], slot_scores[rows].to(full))
            logits[:, 0] = -torch.inf
            log_p = logits.log_softmax(dim=1)
            at = (target_query[mine] - start, target[mine])
            total -= (weight[mine] * log_p[at]).sum()
            gradient = log_p.exp_().mul_(mass[rows, None])
            gradient.index_put_(at, -weight[mine], accumulate=True)
            share = gradient.to(queries.dtype)
            torch.mm(share, items, out=of_queries[rows])
            if share is gradient:
                of_items.addmm_(gradient.T, queries[rows])
            else:
                of_items += _product(share.T, queries[rows], full)
            if of_slots is not None and slot_items is not None:
                of_slots[rows] = gradient.gather(1, slot_items[rows])
        found = zip((of_queries, of_items, of_slots), kinds, strict=True)
        ctx.save_for_backward(*(gradient.to(kind) for gradient, kind in found if gradient is not None))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        of_queries, of_items, *of_slots = (grad_output * saved for saved in ctx.saved_tensors)
        return of_queries, of_items, *(of_slots or [None]), None, None, None, None, None, None


def _as_multiplied(queries: Tensor, items: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
    """Both in the type of products, which is autocast's where it is on, and the type of sums."""
    device = queries.device.type
    if not torch.is_autocast_enabled(device):
        return queries, items, items.dtype
    kind = torch.get_autocast_dtype(device)
    return queries.to(kind), items.to(kind), torch.float32


def _product(a: Tensor, b: Tensor, kind: torch.dtype) -> Tensor:
    return (a @ b).to(kind)
