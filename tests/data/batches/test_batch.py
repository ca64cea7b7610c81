"""Batches are gathered right, padded right, and leak nothing."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.batches.batch import bucket_by_length, move_up, pad_positions
from recsys.data.batches.loader import Shard
from recsys.data.batches.one_row_per_user import UserRowBatches, find_basket_start, find_distinct_positions
from recsys.data.batches.ranking import RankingBatches, find_distinct_pairs


@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 9), st.integers(0, 3))
def test_bucketing_deals_every_row_once_in_batches_of_like_length(lengths, batch_size, seed):
    lengths = np.array(lengths)
    batches = list(bucket_by_length(lengths, batch_size, np.random.default_rng(seed)))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size
    if len(lengths) <= 50 * batch_size:  # one window: batches do not overlap in length
        spans = sorted((lengths[b].min(), lengths[b].max()) for b in batches)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_padding_is_on_the_right():
    index, mask = pad_positions(np.array([5, 9]), np.array([3, 1]))
    assert index.tolist() == [[5, 6, 7], [9, 0, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


def test_unknown_items_are_skipped_and_the_rest_moves_up():
    items, columns = move_up(np.array([[3, 0, 7, 0]]), {"timestamp": np.array([[10, 20, 30, 0]])})
    assert items.tolist() == [[3, 7, 0, 0]]
    assert columns["timestamp"].tolist()[0][:2] == [10, 30]


def test_asks_of_baskets_are_at_their_start():
    asked = find_basket_start(np.array([[4, 4, 5, 6, 6]]))
    assert asked.tolist() == [[0, 0, 2, 3, 3]]
    ask, query, answers = find_distinct_positions(asked, np.array([[True, True, True, True, False]]))
    assert ask.tolist() == [[0, 2, 3]]
    assert query.tolist() == [0, 1, 2]
    assert answers[0, :4].tolist() == [0, 0, 1, 2]


def users_of(batches, dataset):
    return sum(len(batch.history) for batch in batches)


def test_every_training_event_is_a_target_once_an_epoch(dataset):
    batches = UserRowBatches(dataset, 7, 1000, seed=0)
    events = np.concatenate([dataset.items[a:b] for a, b in zip(dataset.offsets, dataset.bounds[:, 0], strict=False)])
    found = torch.cat([batch.targets for batch in batches]).numpy()
    assert sorted(found.tolist()) == sorted(events.tolist())


def test_a_query_is_followed_by_its_target(dataset):
    for batch in UserRowBatches(dataset, 4, 1000, seed=0):
        rows, places = batch.queries // batch.positions.shape[1], batch.queries % batch.positions.shape[1]
        for target, query in zip(batch.targets, batch.target_query, strict=True):
            seen = int(batch.positions[rows[query], places[query]])
            history = batch.history[rows[query]]
            if seen < history.shape[0] and history[seen] > 0:
                assert history[seen] == target


def test_a_basket_is_asked_before_it_is_seen(shop):
    for batch in UserRowBatches(shop, 5, 1000, seed=0):
        rows, places = batch.queries // batch.positions.shape[1], batch.queries % batch.positions.shape[1]
        times = batch.events["timestamp"]
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            seen = int(batch.positions[row, place])
            if seen:
                assert times[row, seen - 1] < batch.request["timestamp"][row, place]


def test_order_inside_a_basket_is_new_every_epoch(shop):
    batches = UserRowBatches(shop, 1000, 1000, seed=0)
    first = next(iter(batches)).history
    again = next(iter(batches)).history
    batches.set_epoch(1)
    other = next(iter(batches)).history
    assert torch.equal(first, again)
    assert not torch.equal(first.sort().values, other) or not torch.equal(first, other)
    assert first.shape == other.shape and not torch.equal(first, other)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_have_as_many_batches_and_share_the_users(dataset, world_size):
    parts = [UserRowBatches(dataset, 8, 50, 0, shard=Shard(rank, world_size)) for rank in range(world_size)]
    found = [list(part) for part in parts]
    assert len({len(batches) for batches in found}) == 1
    whole = torch.cat([batch.targets for batch in UserRowBatches(dataset, 8, 50, 0)])
    dealt = torch.cat([batch.targets for batches in found for batch in batches])
    assert set(whole.tolist()) == set(dealt.tolist())
    assert len(dealt) >= len(whole)


def test_a_long_history_is_cut_and_never_asked_without_context(dataset):
    for batch in UserRowBatches(dataset, 6, 5, seed=0):
        assert batch.history.shape[1] <= 5
    cut = np.flatnonzero(dataset.bounds[:, 0] - dataset.offsets[:-1] > 6)
    batches = UserRowBatches(dataset, 6, 5, seed=0)
    batch = batches.gather(cut[:3], np.random.default_rng(0))
    assert (batch.positions.flatten()[batch.queries] > 0).all()


@pytest.mark.parametrize("part", ["validation", "test"])
def test_ranking_history_ends_where_the_part_starts(dataset, part):
    batches = RankingBatches(dataset, part, 9, None)
    column = {"validation": 0, "test": 1}[part]
    for batch in batches:
        for row in range(len(batch.history)):
            user = int(batch.user["id"][row]) - 1
            start = int(dataset.bounds[user, column])
            expected = [i for i in dataset.items[dataset.offsets[user] : start] if i <= dataset.n_items]
            assert batch.history[row][batch.history[row] > 0].tolist() == expected
            assert batch.positions[row].tolist() == [len(expected)]


def test_all_later_items_of_a_shop_are_targets_once(shop):
    start, end = shop.bounds[:, 1], shop.offsets[1:]
    expected = [sorted(set(shop.items[a:b].tolist())) for a, b in zip(start, end, strict=True) if b > a]
    found = []
    for batch in RankingBatches(shop, "test", 6):
        found += [sorted(batch.targets[batch.target_query == row].tolist()) for row in range(len(batch.history))]
    assert sorted(found) == sorted(expected)


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=6))
def test_distinct_pairs_against_sets(rows):
    found_rows, found_items = find_distinct_pairs(np.array(rows))
    expected = [(n, i) for n, row in enumerate(rows) for i in sorted(set(row) - {0})]
    assert list(zip(found_rows.tolist(), found_items.tolist(), strict=True)) == expected


def test_a_row_is_the_same_in_any_batch(dataset):
    """Its history ends where its last query is asked, so that positions from the end mean what they do in ranking."""
    batches, rng = UserRowBatches(dataset, 8, 50, seed=0), np.random.default_rng(0)
    longest, shortest = np.argmax(batches.length), np.argmin(batches.length)
    together = batches.gather(np.array([longest, shortest]), rng)
    for row, user in enumerate((longest, shortest)):
        alone = batches.gather(np.array([user]), rng)
        width = int((alone.history > 0).sum())
        assert torch.equal(together.history[row, :width], alone.history[0, :width])
        assert not together.history[row, width:].any()
        assert together.positions[row].max() == width == batches.length[user] - 1
