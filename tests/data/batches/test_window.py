"""Windows of days: what is asked, what answers."""

import numpy as np
import pytest
import torch

from recsys.data.batches.window import WindowBatches
from recsys.errors import DataError

DAY = 86_400


def training(shop, user):
    return slice(int(shop.offsets[user]), int(shop.bounds[user, 0]))


def by_plain_loop(shop, user, moment, days):
    """The distinct items that a user had from `moment` on for some days, in training."""
    own = training(shop, user)
    times, items = shop.timestamps[own], shop.items[own]
    return sorted({int(i) for t, i in zip(times, items, strict=True) if moment <= t < moment + days * DAY})


@pytest.mark.parametrize("days", [3, 20])
def test_targets_are_the_distinct_items_of_the_window(shop, days):
    for batch in WindowBatches(shop, 6, 1000, seed=0, days=days, n_queries=4):
        width = batch.positions.shape[1]
        expected = [
            by_plain_loop(shop, int(batch.user["id"][n // width]) - 1, int(moment), days)
            for n, moment in enumerate(batch.request["timestamp"].flatten())
        ]
        assert [n for n, items in enumerate(expected) if items] == batch.queries.tolist()
        for number, query in enumerate(batch.queries.tolist()):
            mine = batch.target_query == number
            assert batch.targets[mine].tolist() == expected[query]
            torch.testing.assert_close(batch.weights[mine].sum(), torch.tensor(1.0))


def test_a_query_sees_exactly_what_came_before_its_moment(shop):
    for batch in WindowBatches(shop, 6, 1000, seed=0, days=10, n_queries=3):
        times = batch.events["timestamp"].masked_fill(batch.history == 0, 2**60)
        before = (times[:, None] < batch.request["timestamp"][:, :, None]).sum(dim=2)
        assert torch.equal(before.flatten()[batch.queries], batch.positions.flatten()[batch.queries])


def test_windows_lie_inside_training(shop):
    trained = np.concatenate([shop.timestamps[training(shop, user)] for user in range(shop.n_users)])
    for batch in WindowBatches(shop, 6, 1000, seed=0, days=5, n_queries=3):
        moments = batch.request["timestamp"]
        assert trained.min() <= moments.min()
        assert moments.max() < trained.max() - 5 * DAY


def test_a_window_longer_than_training_is_refused(shop):
    with pytest.raises(DataError, match="shorter than windows"):
        WindowBatches(shop, 6, 1000, seed=0, days=1000)


def test_moments_are_drawn_anew_every_epoch_and_the_same_for_a_seed(shop):
    batches = WindowBatches(shop, 1000, 1000, seed=0, n_queries=2, days=5)
    first, again = next(iter(batches)), next(iter(batches))
    batches.set_epoch(1)
    assert torch.equal(first.positions, again.positions)
    assert not torch.equal(first.positions.sort(0).values, next(iter(batches)).positions.sort(0).values)


def test_a_log_without_times_is_refused(shop, monkeypatch):
    monkeypatch.setattr(shop, "timestamps", None)
    with pytest.raises(DataError, match="needs times"):
        WindowBatches(shop, 6, 10, seed=0)


def test_a_long_history_is_cut_to_its_newest_events(shop):
    batches = WindowBatches(shop, 1000, 4, seed=0, days=5)
    batch = next(iter(batches))
    for row, user in enumerate(batch.user["id"].tolist()):
        newest, seen = shop.items[training(shop, user - 1)][-4:].tolist(), int(batch.positions[row].max())
        assert [item for item in batch.history[row].tolist() if item] == newest[:seen]
    assert batch.positions.max() >= 3
