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
        )

    @staticmethod
    def _plain(question: Question) -> Float[Tensor, ""]:
        """The same for any scorer, all logits at once."""
        items = torch.arange(1, len(question.item_counts), device=question.target.device)
        log_p = question.candidate_scores(items).float().log_softmax(dim=1)
        return -(question.weights * log_p[question.target_query, question.target - 1]).sum()


class _ChunkedSoftmax(torch.autograd.Function):
    """Takes the gradient in the forward pass, while a chunk of logits is still in the cache."""

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
    ) -> Tensor:
        total = queries.new_zeros(())
        of_queries, of_items = torch.empty_like(queries), torch.zeros_like(items)
        of_slots = None if slot_scores is None else torch.empty_like(slot_scores)
        starts = range(0, len(queries), chunk)
        edges = torch.searchsorted(target_query, torch.tensor([*starts, len(queries)], device=target.device)).tolist()
        mass = queries.new_zeros(len(queries)).index_add_(0, target_query, weight)
        for n, start in enumerate(starts):
            rows, mine = slice(start, start + chunk), slice(edges[n], edges[n + 1])
            logits = queries[rows] @ items.T
            if slot_items is not None and slot_scores is not None:
                logits.scatter_add_(1, slot_items[rows], slot_scores[rows])
            logits[:, 0] = -torch.inf
            log_p = logits.log_softmax(dim=1)
            at = (target_query[mine] - start, target[mine])
            total -= (weight[mine] * log_p[at]).sum()
            gradient = log_p.exp_().mul_(mass[rows, None])
            gradient.index_put_(at, -weight[mine], accumulate=True)
            torch.mm(gradient, items, out=of_queries[rows])
            of_items.addmm_(gradient.T, queries[rows])
            if of_slots is not None and slot_items is not None:
                of_slots[rows] = gradient.gather(1, slot_items[rows])
        ctx.save_for_backward(of_queries, of_items, *([] if of_slots is None else [of_slots]))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        of_queries, of_items, *of_slots = (grad_output * saved for saved in ctx.saved_tensors)
        return of_queries, of_items, *(of_slots or [None]), None, None, None, None, None
