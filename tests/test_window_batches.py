"""Windows of days: what is asked, what answers."""

import numpy as np
import pytest
import torch

from recsys.data.schema import DataError
from recsys.data.window_batches import WindowBatches

DAY = 86_400


def training(shop, user):
    return slice(int(shop.offsets[user]), int(shop.bounds[user, 0]))


def by_plain_loop(shop, user, moment, days):
    """The distinct items that a user had from `moment` on for some days, in training."""
    own = training(shop, user)
    times, items = shop.timestamps[own], shop.items[own]
    return sorted({int(i) for t, i in zip(times, items, strict=True) if moment <= t <= moment + days * DAY})


@pytest.mark.parametrize("days", [3, 20])
def test_targets_are_the_distinct_items_of_the_window(shop, days):
    for batch in WindowBatches(shop, 6, 1000, seed=0, days=days, n_queries=4):
        width = batch.ask.shape[1]
        for number, query in enumerate(batch.query.tolist()):
            user = int(batch.user["id"][query // width]) - 1
            moment = int(batch.request["timestamp"].flatten()[query])
            mine = batch.target_query == number
            assert batch.target[mine].tolist() == by_plain_loop(shop, user, moment, days)
            torch.testing.assert_close(batch.weight[mine].sum(), torch.tensor(1.0))


def test_a_query_sees_only_what_came_before_its_moment(shop):
    for batch in WindowBatches(shop, 6, 1000, seed=0, days=10, n_queries=3):
        for query in batch.query.tolist():
            row, place = divmod(query, batch.ask.shape[1])
            seen = int(batch.ask[row, place])
            moment = batch.request["timestamp"][row, place]
            assert (batch.events["timestamp"][row, :seen] < moment).all()
            assert batch.events["timestamp"][row, seen] == moment


def test_windows_end_inside_training_where_they_can(shop):
    newest = max(int(shop.timestamps[training(shop, u)].max()) for u in range(shop.n_users) if shop.user_rows[u])
    batches = WindowBatches(shop, 6, 1000, seed=0, days=5, n_queries=3)
    assert batches.latest == newest - 5 * DAY
    inside = [(batch.request["timestamp"].flatten()[batch.query] <= batches.latest).float().mean() for batch in batches]
    assert np.mean(inside) > 0.9


def test_every_user_is_asked_and_no_moment_twice(shop):
    asked = 0
    for batch in WindowBatches(shop, 6, 1000, seed=0, days=5, n_queries=100):
        rows, places = batch.query // batch.ask.shape[1], batch.query % batch.ask.shape[1]
        pairs = list(zip(rows.tolist(), batch.ask[rows, places].tolist(), strict=True))
        assert len(set(pairs)) == len(pairs)
        assert set(rows.tolist()) == set(range(len(batch.ask)))
        asked += len(batch.ask)
    assert asked == int((shop.bounds[:, 0] > shop.offsets[:-1]).sum())


def test_moments_are_drawn_anew_every_epoch_and_the_same_for_a_seed(shop):
    batches = WindowBatches(shop, 1000, 1000, seed=0, n_queries=2, days=5)
    first, again = next(iter(batches)), next(iter(batches))
    batches.set_epoch(1)
    assert torch.equal(first.ask, again.ask)
    assert not torch.equal(first.ask.sort(0).values, next(iter(batches)).ask.sort(0).values)


def test_a_log_without_times_is_refused(shop, monkeypatch):
    monkeypatch.setattr(shop, "timestamps", None)
    with pytest.raises(DataError, match="needs times"):
        WindowBatches(shop, 6, 10, seed=0)
