import math

import pytest
import torch
from torch.nn import functional as F

from recsys.losses.inputs import LossInputs
from recsys.losses.sampled import BCE, BPR, GBCE, SampledSoftmax, count_draws
from recsys.losses.softmax import Softmax


class Table:
    """Scores against a table of item vectors."""

    def __init__(self, items, dot_product=True):
        self.items, self.dot_product = items, dot_product

    def item_vectors(self, items=None):
        return self.items if items is None else self.items[items]

    def score(self, queries, items):
        return queries @ items.transpose(-1, -2)


def asked(queries, items, target, target_query, weight=None, slots=None, counts=None, dot_product=True):
    counts = torch.ones(len(items), dtype=torch.long) if counts is None else counts
    return LossInputs(Table(items, dot_product), queries, target, target_query, counts, weight, slots)


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


@pytest.mark.parametrize(("chunk", "dot_product"), [(1, True), (7, True), (37, True), (1000, True), (1, False)])
def test_softmax_equals_cross_entropy_in_loss_and_gradients(chunk, dot_product):
    found, expected = question(), question()
    loss, reference = Softmax(chunk, bfloat16=False)(asked(*found, dot_product=dot_product)), plain(*expected)
    (loss * 0.37).backward()
    (reference * 0.37).backward()
    torch.testing.assert_close(loss, reference, rtol=1e-5, atol=1e-5)
    for mine, theirs in ((found[0], expected[0]), (found[1], expected[1]), (found[5][1], expected[5][1])):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-5)


def test_softmax_gradcheck_in_float64():
    queries, items, target, target_query, weight, (slot_items, slot_scores) = question(torch.float64, 5, 7, 3, 9, 2)

    def loss(queries, items, slot_scores):
        return Softmax(2)(asked(queries, items, target, target_query, weight, (slot_items, slot_scores)))

    assert torch.autograd.gradcheck(loss, (queries, items, slot_scores))


def assert_hardly_moved(loss, reference, found, expected):
    """Products of bfloat16 leave loss and gradients near those of float32, and of its type."""
    loss.backward()
    reference.backward()
    assert loss.dtype == torch.float32
    assert loss != reference
    torch.testing.assert_close(loss, reference, rtol=1e-2, atol=0)
    for mine, theirs in ((found[0], expected[0]), (found[1], expected[1]), (found[5][1], expected[5][1])):
        assert mine.grad.dtype == torch.float32
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=0.05, atol=0.05)


def test_softmax_multiplies_in_bfloat16_under_autocast():
    found, expected = question(), question()
    with torch.autocast("cpu", torch.bfloat16):
        loss = Softmax(7)(asked(*found))
    reference = Softmax(7, bfloat16=False)(asked(*expected))
    assert_hardly_moved(loss, reference, found, expected)


def test_one_table_for_input_and_output_collects_both_gradients():
    table = torch.randn(11, 4, dtype=torch.float64, requires_grad=True)
    history, target = torch.tensor([1, 5, 9]), torch.tensor([5, 9, 2])
    Softmax(2)(asked(table[history], table, target, torch.arange(3))).backward()
    found, table.grad = table.grad, None
    logits = (table[history] @ table.T)[:, 1:]
    F.cross_entropy(logits, target - 1, reduction="sum").backward()
    torch.testing.assert_close(found, table.grad)


def test_weights_default_to_one_and_slots_to_nothing():
    queries, items, target, target_query, _, _ = question()
    zero = torch.zeros(len(queries), 1, dtype=torch.long), torch.zeros(len(queries), 1)
    reference = plain(queries, items, target, target_query, torch.ones(len(target)), zero)
    torch.testing.assert_close(Softmax(bfloat16=False)(asked(queries, items, target, target_query)), reference)


def test_differentiating_twice_raises():
    queries, items, target, target_query, *_ = question()
    loss = Softmax()(asked(queries, items, target, target_query))
    (gradient,) = torch.autograd.grad(loss**2, queries, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_sampled_softmax_estimates_the_full_one():
    """Averaged over many draws, the sum behind the logarithm is that of all items."""
    queries, items, target, target_query, weight, slots = question(n_items=30, n_queries=6, n_targets=6)
    target_query, counts = torch.arange(6), torch.arange(30)
    everything = asked(queries, items, target, target_query, weight, slots, counts)
    logits = everything.candidate_scores(torch.arange(1, 30)).detach()
    expected = logits.logsumexp(1) - logits[torch.arange(6), target - 1]
    torch.manual_seed(0)
    for in_batch in (0.0, 0.5):
        loss = SampledSoftmax(4000, in_batch)
        everything = asked(queries, items, target, target_query, torch.eye(6)[3], slots, counts)
        if in_batch:  # the batch's targets must come as often as counts say
            everything = asked(queries, items, target, target_query, torch.eye(6)[3], slots, counts_of(target))
        found = torch.stack([loss(everything).detach() for _ in range(20)]).mean()
        assert abs(found - expected[3]) < 0.05, in_batch


def counts_of(target):
    return torch.bincount(target, minlength=30)


def losses_of(loss, positive, negative, n_items=100):
    """The loss of one target and its negatives, no weights."""
    return loss.compare(
        torch.tensor([positive]), torch.tensor([negative]), torch.zeros(1, len(negative)), n_items
    ).item()


def test_pairwise_and_binary_losses_by_hand():
    target, below, above = torch.sigmoid(torch.tensor([2.0, 1.0, 3.0]) + math.log(1 / 2))
    plain_bce = -(target.log() + (1 - below).log() + (1 - above).log()) / 3
    assert losses_of(BCE(2), 2.0, [1.0, 3.0]) == pytest.approx(plain_bce.item(), rel=1e-5)
    bpr = -(torch.sigmoid(torch.tensor(1.0)).log() + torch.sigmoid(torch.tensor(-1.0)).log()) / 2
    assert losses_of(BPR(2), 2.0, [1.0, 3.0]) == pytest.approx(bpr.item(), rel=1e-5)


def test_gbce_is_bce_without_calibration_and_raises_to_the_sampled_share_with_it():
    assert GBCE(10, calibration=0.0).power(101) == pytest.approx(1.0)
    assert GBCE(10, calibration=1.0).power(101) == pytest.approx(0.1)
    assert losses_of(GBCE(2, 0.0), 2.0, [1.0, 3.0]) == pytest.approx(losses_of(BCE(2), 2.0, [1.0, 3.0]))


@pytest.mark.parametrize("loss", [BCE(8), GBCE(8), GBCE(8, calibration=1.0)])
def test_where_nothing_is_known_binary_losses_do_not_move_all_scores_together(loss):
    score = torch.zeros(1, requires_grad=True)
    loss.compare(score, score.expand(1, 8), torch.zeros(1, 8), 100).backward()
    assert score.grad.item() == pytest.approx(0.0, abs=1e-7)


def test_a_calibration_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match=r"loss\.calibration=1\.5 is invalid: expected a number from 0 to 1"):
        GBCE(calibration=1.5)


def test_draws_of_one_item_are_counted_at_its_first_place():
    assert count_draws(torch.tensor([2, 2, 2, 5, 7, 7])).tolist() == [3, 0, 0, 1, 2, 0]


@pytest.mark.parametrize("loss", [SampledSoftmax(60), BCE(60), GBCE(60), BPR(60)], ids=lambda loss: type(loss).__name__)
def test_targets_of_a_query_are_never_its_negatives(loss):
    """With every other item at −∞-like scores, only a mistaken negative would cost anything."""
    items = torch.eye(4).repeat(2, 1) * 20
    queries = torch.tensor([[-1.0, 1.0, 1.0, -1.0]])
    items[[0, 3, 4, 5, 6, 7]] = -20 * torch.tensor([0.0, 1.0, 1.0, 0.0])
    torch.manual_seed(0)
    value = loss(asked(queries, items, torch.tensor([1, 2]), torch.tensor([0, 0])))
    assert value < 1e-3


def test_sampled_losses_reach_only_the_rows_that_they_read():
    table = torch.nn.Embedding(1000, 4, sparse=True)
    scorer = asked(torch.randn(3, 4), table.weight, torch.tensor([1, 2, 3]), torch.arange(3))
    scorer.scorer.item_vectors = lambda items=None: table(items)
    SampledSoftmax(20)(scorer).backward()
    assert table.weight.grad.is_sparse
    assert len(table.weight.grad.coalesce().indices()[0]) <= 23


@pytest.mark.parametrize("n_queries", [37, 600])
def test_products_of_bfloat16_hardly_move_loss_and_gradients(n_queries):
    found, expected = question(n_queries=n_queries), question(n_queries=n_queries)
    loss = Softmax(bfloat16=True)(asked(*found))
    reference = Softmax(bfloat16=False)(asked(*expected))
    assert_hardly_moved(loss, reference, found, expected)


def test_softmax_of_large_scores_stays_finite():
    queries, items = torch.full((2, 4), 1e3, requires_grad=True), torch.eye(4).repeat(2, 1) * 1e3
    loss = Softmax(bfloat16=False)(asked(queries, items, torch.tensor([1, 2]), torch.arange(2)))
    loss.backward()
    assert loss.isfinite()
    assert queries.grad.isfinite().all()
