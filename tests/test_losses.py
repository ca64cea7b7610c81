import pytest
import torch
from torch.nn import functional as F

from recsys.losses import Softmax


def question(dtype=torch.float32, n_queries=37, n_items=53, dim=8, n_targets=61, n_slots=5):
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(n_queries, dim, generator=generator, dtype=dtype).requires_grad_()
    items = torch.randn(n_items, dim, generator=generator, dtype=dtype).requires_grad_()
    target = torch.randint(1, n_items, (n_targets,), generator=generator)
    target_query = torch.randint(n_queries, (n_targets,), generator=generator).sort().values
    weight = torch.rand(n_targets, generator=generator, dtype=dtype)
    slot_items = torch.randint(0, n_items, (n_queries, n_slots), generator=generator)
    slot_scores = torch.randn(n_queries, n_slots, generator=generator, dtype=dtype).requires_grad_()
    return queries, items, target, target_query, weight, (slot_items, slot_scores)


def plain(queries, items, target, target_query, weight, slots):
    logits = (queries @ items.T).scatter_add(1, *slots)
    padding = torch.arange(len(items)) == 0
    loss = F.cross_entropy(logits.masked_fill(padding, -torch.inf)[target_query], target, reduction="none")
    return (loss * weight).sum()


@pytest.mark.parametrize("chunk", [1, 7, 37, 1000])
def test_softmax_equals_cross_entropy_in_loss_and_gradients(chunk):
    found, expected = question(), question()
    loss, reference = Softmax(chunk)(*found), plain(*expected)
    (loss * 0.37).backward()
    (reference * 0.37).backward()
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-5)
    for mine, theirs in ((found[0], expected[0]), (found[1], expected[1]), (found[5][1], expected[5][1])):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_softmax_gradcheck_in_float64():
    queries, items, target, target_query, weight, (slot_items, slot_scores) = question(torch.float64, 5, 7, 3, 9, 2)

    def loss(queries, items, slot_scores):
        return Softmax(2)(queries, items, target, target_query, weight, (slot_items, slot_scores))

    assert torch.autograd.gradcheck(loss, (queries, items, slot_scores))


def test_one_table_for_input_and_output_collects_both_gradients():
    table = torch.randn(11, 4, dtype=torch.float64, requires_grad=True)
    history, target = torch.tensor([1, 5, 9]), torch.tensor([5, 9, 2])
    Softmax(2)(table[history], table, target, torch.arange(3)).backward()
    found, table.grad = table.grad, None
    logits = (table[history] @ table.T)[:, 1:]
    F.cross_entropy(logits, target - 1, reduction="sum").backward()
    torch.testing.assert_close(found, table.grad)


def test_weights_default_to_one_and_slots_to_nothing():
    queries, items, target, target_query, _, _ = question()
    zero = torch.zeros(len(queries), 1, dtype=torch.long), torch.zeros(len(queries), 1)
    reference = plain(queries, items, target, target_query, torch.ones(len(target)), zero)
    torch.testing.assert_close(Softmax()(queries, items, target, target_query), reference)


def test_differentiating_twice_raises():
    queries, items, target, target_query, *_ = question()
    loss = Softmax()(queries, items, target, target_query)
    (gradient,) = torch.autograd.grad(loss**2, queries, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
