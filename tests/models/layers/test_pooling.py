"""Pooling by recency: what a head starts from, what it sees, and that order reaches the two-tower through it."""

import pytest
import torch

from recsys.data.features import Encoder
from recsys.errors import DataError
from recsys.models.base import DataSpec, ModelInputs
from recsys.models.layers.pooling import Pooling, RecencyPooling, make_pooling

HOUR = 3_600


def spec(**more):
    return DataSpec(n_users=3, n_items=9, max_history=6, repeats=False, **{"has_time": True, **more})


def pool(pooling, items, ask, **times):
    events = {"timestamp": times["then"]} if "then" in times else {}
    request = {"timestamp": times["now"]} if "now" in times else {}
    return pooling(items, ModelInputs({}, items[..., 0].long(), events, request, ask))


def test_a_head_starts_as_its_slope_says():
    pooling = RecencyPooling(spec(), 2, [0.5], attention=False, time=False)
    items = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    found = pool(pooling, items, torch.tensor([[2]]))[0, 0]
    weight = torch.exp(-0.5 * torch.tensor([2.0, 1.0, 0.0]))  # of the start token, the older item, the newer one
    weight = weight / weight.square().sum().sqrt()
    torch.testing.assert_close(found, weight[1:])


def test_slope_nought_is_the_plain_sum_over_the_root_of_the_count():
    items, ask = torch.randn(2, 6, 4), torch.tensor([[0, 3, 6], [1, 2, 5]])
    recent = RecencyPooling(spec(), 4, [0.0], attention=False, time=False)
    plain = Pooling(4, attention=False, n_types=0)
    torch.testing.assert_close(pool(recent, items, ask), pool(plain, items, ask))


def test_what_comes_after_the_query_is_not_seen():
    pooling = RecencyPooling(spec(event=Encoder("category", ("buy",))), 4, [1.0, 0.0], attention=True, time=True)
    items, ask = torch.randn(1, 6, 4), torch.tensor([[0, 2, 4]])
    then, now = torch.arange(6)[None] * HOUR, torch.tensor([[0, 2, 4]]) * HOUR
    types = torch.ones(1, 6, 1, dtype=torch.long)
    inputs = ModelInputs({}, items[..., 0].long(), {"timestamp": then, "event": types}, {"timestamp": now}, ask)
    before = pooling(items, inputs)
    items[:, 4:] = torch.randn(1, 2, 4)
    after = pooling(items, inputs)
    torch.testing.assert_close(before, after)


def test_time_weighs_where_it_was_learned():
    pooling = RecencyPooling(spec(), 1, [0.0], attention=False, time=True)
    with torch.no_grad():
        pooling.bias.elapsed[:, 1:12] = 20.0  # from a second to about an hour; the start token has no time
    items, then = torch.tensor([[[1.0], [5.0]]]), torch.tensor([[0, 10 * HOUR]])
    found = pool(pooling, items, torch.tensor([[2]]), then=then, now=torch.tensor([[10 * HOUR + 60]]))
    torch.testing.assert_close(found, torch.tensor([[[5.0]]]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("queries", [1, 3])
def test_one_query_and_many_are_pooled_alike(queries):
    pooling = RecencyPooling(spec(), 4, [1.0, 0.1], attention=True, time=False)
    items, ask = torch.randn(2, 6, 4), torch.tensor([[6, 6, 6], [4, 4, 4]])[:, :queries]
    alone = pool(pooling, items, ask[:, :1])
    torch.testing.assert_close(pool(pooling, items, ask), alone.expand(-1, queries, -1))


def test_without_an_order_all_items_count_alike():
    assert isinstance(make_pooling(spec(ordered=False), 4, False, [1.0], False), Pooling)
    assert isinstance(make_pooling(spec(), 4, False, [], False), Pooling)
    assert isinstance(make_pooling(spec(), 4, False, [1.0], False), RecencyPooling)


def test_weights_by_time_need_times():
    with pytest.raises(DataError, match=r"time_bias=true needs times"):
        make_pooling(spec(has_time=False), 4, False, [1.0], True)
    with pytest.raises(DataError, match=r"name slopes in model\.recency"):
        make_pooling(spec(), 4, False, [], True)


def test_all_queries_of_all_users_at_once_are_pooled_as_each_alone():
    pooling = RecencyPooling(spec(), 4, [1.0, 0.1, 0.0], attention=False, time=False)
    with torch.no_grad():
        for parameter in pooling.parameters():
            parameter.add_(torch.randn_like(parameter))
    items, ask = (
        torch.randn(3, 6, 4),
        torch.stack([torch.arange(7), torch.arange(7), torch.tensor([0, 2, 2, 3, 6, 0, 0])]),
    )
    found = pool(pooling, items, ask)
    for place in range(7):
        torch.testing.assert_close(found[:, [place]], pool(pooling, items, ask[:, [place]]))
