"""Queries in rows of their own: the same questions as in rows of users, each asked last."""

from collections import Counter

import numpy as np
import pytest
import torch

from recsys.data.batches.loader import Shard
from recsys.data.batches.one_row_per_query import QueryRowBatches
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.dataset import TrainPlusValidation


def questions(batches):
    """How often each target is asked of each user after each (unordered) history at each moment."""
    found = Counter()
    for batch in batches:
        width = batch.positions.shape[1]
        for target, query in zip(batch.targets, batch.queries[batch.target_query], strict=True):
            row, seen = int(query) // width, int(batch.positions.flatten()[query])
            history = tuple(sorted(batch.history[row, :seen].tolist()))
            moment = int(batch.request["timestamp"].flatten()[query])
            found[int(batch.user["id"][row]), history, moment, int(target)] += 1
    return found


@pytest.mark.parametrize("name", ["dataset", "shop", "mixed"])
@pytest.mark.parametrize(
    "kind", [lambda data: data, lambda data: TrainPlusValidation(data.folder)], ids=["validated", "refit"]
)
def test_the_same_questions_as_in_rows_of_users(name, kind, request):
    data = kind(request.getfixturevalue(name))
    found, expected = (questions(form(data, 7, 1000, seed=0)) for form in (QueryRowBatches, UserRowBatches))
    assert {key: n for key, n in found.items() if key[1]} == {key: n for key, n in expected.items() if key[1]}
    first, all_first = ({key for key in of if not key[1]} for of in (found, expected))
    assert first <= all_first
    assert len({user for user, *_ in first}) == -(-len({user for user, *_ in all_first}) // 10)


def test_every_query_is_the_last_thing_in_its_row(shop):
    for batch in QueryRowBatches(shop, 9, 1000, seed=0):
        assert torch.equal(batch.positions[:, 0], (batch.history > 0).sum(dim=1))
        assert (
            batch.target_starts.tolist()
            == np.searchsorted(batch.target_query.numpy(), np.arange(len(batch.queries) + 1)).tolist()
        )


def test_a_long_history_keeps_its_newest_events(dataset):
    short, whole = (questions(QueryRowBatches(dataset, 8, n, seed=0)) for n in (3, 1000))
    assert sum(short.values()) == sum(whole.values())
    assert max(len(history) for _, history, _, _ in short) == 3
    batch = QueryRowBatches(dataset, 1000, 3, seed=0).gather(np.arange(20, 30), np.random.default_rng(0))
    batches = QueryRowBatches(dataset, 1000, 3, seed=0)
    for row, at in enumerate(batches.target_start[20:30]):
        own = dataset.items[max(at - 3, dataset.offsets[batches.row_user[20 + row]]) : at]
        assert batch.history[row][: len(own)].tolist() == own.tolist()


def test_an_epoch_has_an_order_of_its_own_and_ranks_share_it(dataset):
    batches = QueryRowBatches(dataset, 16, 50, seed=0)
    first, again = torch.cat([b.targets for b in batches]), torch.cat([b.targets for b in batches])
    batches.set_epoch(1)
    other = torch.cat([b.targets for b in batches])
    assert torch.equal(first, again) and not torch.equal(first, other)
    ranks = [list(QueryRowBatches(dataset, 16, 50, 0, shard=Shard(rank, 2))) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1])
    assert set(torch.cat([b.targets for rank in ranks for b in rank]).tolist()) == set(first.tolist())
