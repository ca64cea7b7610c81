"""A refresh learns from every new event and from as many old ones."""

from functools import partial

import numpy as np
import pytest

from recsys.apps.lifecycle.replay import ReplayBatches
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.batches.window import WindowBatches
from recsys.errors import DataError

HISTORY = 20


@pytest.fixture
def since(dataset):
    return int(np.quantile(dataset.timestamps, 0.8))


def owners(dataset):
    return np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))


def replay(data, since, ratio, seed=1, **settings):
    of = partial(UserRowBatches, batch_size=8, max_history=HISTORY)
    return ReplayBatches(settings.pop("of", of), HISTORY, since, ratio, data, seed, **settings)


def targets(batches):
    """(N,) bool: the events that this epoch is to learn."""
    return batches.batches.dataset.is_target


def test_every_new_event_is_there_and_none_after_training(dataset, since):
    place, end = np.arange(len(dataset.items)), dataset.bounds[owners(dataset), 0]
    new = (dataset.timestamps >= since) & (place < end) & (place >= end - HISTORY)
    found = targets(replay(dataset, since, 1.0))
    assert found[new].all()
    assert not found[place >= end].any()
    assert (targets(replay(dataset, since, 0.0)) == new).all()


def test_old_events_are_as_many_as_asked_for_on_average_and_others_in_each_epoch(dataset, since):
    batches, found = replay(dataset, since, 0.5), []
    for epoch in range(60):
        batches.set_epoch(epoch)
        found.append(targets(batches) & ~batches.new)
    assert np.mean([each.sum() for each in found]) == pytest.approx(0.5 * batches.new.sum(), rel=0.15)
    assert (found[0] != found[1]).any()
    assert (np.any(found, axis=0) == batches.old).all()


def test_epochs_are_equally_long_and_one_seed_gives_one_draw(dataset, since):
    batches, again = replay(dataset, since, 0.7), replay(dataset, since, 0.7)
    lengths = set()
    for epoch in range(10):
        batches.set_epoch(epoch)
        again.set_epoch(epoch)
        lengths.add((len(batches), len(list(batches))))
        assert (targets(batches) == targets(again)).all()
    assert len(lengths) == 1
    assert len({*lengths.pop()}) == 1


def test_a_user_is_replayed_whole_or_not_at_all(dataset, since):
    batches = replay(dataset, since, 0.5)
    masks = batches.old, targets(batches) & batches.old
    old, found = (np.bincount(owners(dataset)[mask], minlength=60) for mask in masks)
    assert set(found[old > 0] / old[old > 0]) == {0.0, 1.0}


def test_only_target_events_are_learned(mixed):
    found = targets(replay(mixed, int(np.quantile(mixed.timestamps, 0.8)), 1.0))
    assert found.any()
    assert mixed.is_target[found].all()


def test_nothing_new_is_said(dataset):
    with pytest.raises(DataError, match="no event for training is newer"):
        replay(dataset, int(dataset.timestamps.max()) + 1, 1.0)


def test_batches_ask_for_these_events_and_histories_stay_whole(dataset, since):
    batches, learned = replay(dataset, since, 1.0), 0
    found = targets(batches)
    for batch in batches:
        learned += len(batch.targets)
        assert batch.total_weight == len(batch.targets)
    assert learned == found.sum()
    assert max(batch.positions.max() for batch in batches) > np.bincount(owners(dataset)[found]).max() / 2
    assert dataset.is_target is None


def test_windows_can_be_replayed_too(shop):
    since = int(np.quantile(shop.timestamps, 0.7))
    of = partial(WindowBatches, batch_size=8, max_history=HISTORY, days=5)
    batches = replay(shop, since, 0.0, of=of)
    asked = [batch.request["timestamp"].flatten()[batch.queries] for batch in batches]
    assert sum(map(len, asked)) > 0
    assert all((moments > since - 5 * 86_400).all() for moments in asked)
