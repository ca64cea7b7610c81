"""Repeat-aware scoring, against a plain loop."""

import torch

from recsys.data.batches.batch import ModelInputs
from recsys.models.repeat import RepeatBonus

DAY = 86_400


def inputs_of(history, days, positions, now):
    """Scores of zero, and the inputs."""
    history = torch.tensor(history)
    events = {"timestamp": torch.tensor(days) * DAY}
    request = {"timestamp": torch.tensor(now) * DAY}
    scores = torch.zeros(len(history), len(positions[0]), history.shape[1])
    return scores, ModelInputs({}, history, events, request, torch.tensor(positions))


def test_only_the_first_slot_of_each_visible_item_gets_something():
    repeat = RepeatBonus(9, [30.0], has_time=True, n_types=0, sparse=False)
    found = repeat(*inputs_of([[3, 5, 3, 7, 0]], [[1, 2, 3, 4, 0]], [[0, 2, 4]], [[1, 3, 5]]))
    assert (found != 0).tolist() == [[[False] * 5, [True, True, False, False, False], [True, True, False, True, False]]]


def test_more_and_later_purchases_count_for_more():
    repeat = RepeatBonus(9, [30.0, 90.0], has_time=True, n_types=0, sparse=False)
    found = repeat(*inputs_of([[3, 3, 5, 7]], [[90, 95, 95, 10]], [[4]], [[100]]))[0, 0]
    assert found[0] > found[2] > found[3] > 0


def test_without_times_events_count_back():
    repeat = RepeatBonus(9, [2.0], has_time=False, n_types=0, sparse=False)
    scores, inputs = inputs_of([[3, 5, 7, 0]], [[0, 0, 0, 0]], [[3]], [[0]])
    found = repeat(scores, inputs._replace(events={}, request={}))[0, 0]
    assert found[2] > found[1] > found[0] > 0 == found[3]


def test_a_strong_score_of_the_model_leaves_little_to_add():
    repeat = RepeatBonus(9, [30.0], has_time=True, n_types=0, sparse=False)
    scores, inputs = inputs_of([[3]], [[1]], [[1]], [[2]])
    weak, strong = repeat(scores - 5, inputs), repeat(scores + 50, inputs)
    assert weak.item() > 1
    assert strong.item() < 1e-6
