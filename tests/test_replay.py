"""A refresh learns from every new event and from as many old ones."""

from functools import partial

import numpy as np
import pytest

from recsys.data.schema import DataError
from recsys.data.training_batches import TrainingBatches
from recsys.data.window_batches import WindowBatches
from recsys.lifecycle.replay import chosen, replay

HISTORY = 20


@pytest.fixture
def since(dataset):
    return int(np.quantile(dataset.timestamps, 0.8))


def owners(dataset):
    return np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))


def test_new_events_are_all_there_and_old_ones_as_many(dataset, since):
    found = chosen(dataset, HISTORY, since, 1.0, seed=1)
    place, end = np.arange(len(found)), dataset.bounds[owners(dataset), 0]
    new = (dataset.timestamps >= since) & (place < end) & (place >= end - HISTORY)
    assert found[new].all()
    assert not found[place >= end].any()
    old = found & ~new
    most = np.bincount(owners(dataset)[old]).max()
    assert new.sum() <= old.sum() < new.sum() + most
    assert (chosen(dataset, HISTORY, since, 0.0, seed=1) == new).all()


def test_a_user_is_replayed_whole_or_not_at_all_and_others_by_another_seed(dataset, since):
    found, user = chosen(dataset, HISTORY, since, 0.5, seed=1), owners(dataset)
    end = dataset.bounds[user, 0]
    read = (np.arange(len(user)) < end) & (np.arange(len(user)) >= end - HISTORY) & (dataset.timestamps < since)
    share = np.bincount(user[read & found], minlength=60) / np.maximum(np.bincount(user[read], minlength=60), 1)
    assert set(share) == {0.0, 1.0}
    assert (found != chosen(dataset, HISTORY, since, 0.5, seed=2)).any()


def test_only_target_events_are_learned(mixed):
    found = chosen(mixed, HISTORY, int(np.quantile(mixed.timestamps, 0.8)), 1.0, seed=1)
    assert found.any()
    assert mixed.is_target[found].all()


def test_nothing_new_is_said(dataset):
    with pytest.raises(DataError, match="no event for training is newer"):
        chosen(dataset, HISTORY, int(dataset.timestamps.max()) + 1, 1.0, seed=1)


def test_batches_ask_for_these_events_and_histories_stay_whole(dataset, since):
    batches = replay(partial(TrainingBatches, batch_size=8, max_history=HISTORY), HISTORY, since, 1.0, dataset, seed=1)
    found, learned = chosen(dataset, HISTORY, since, 1.0, seed=1), 0
    for batch in batches:
        learned += len(batch.target)
        assert batch.mass == len(batch.target)
    assert learned == found.sum()
    assert max(batch.ask.max() for batch in batches) > np.bincount(owners(dataset)[found]).max() / 2
    assert dataset.is_target is None


def test_windows_can_be_replayed_too(shop):
    since = int(np.quantile(shop.timestamps, 0.7))
    of = partial(WindowBatches, batch_size=8, max_history=HISTORY, days=5)
    batches = replay(of, HISTORY, since, 0.0, shop, seed=1)
    asked = [batch.request["timestamp"].flatten()[batch.query] for batch in batches]
    assert sum(map(len, asked)) > 0
    assert all((moments > since - 5 * 86_400).all() for moments in asked)
