"""Drift is said where it is, and seldom where it is not."""

import json

import numpy as np
import pytest

from recsys.apps.lifecycle.drift import DriftInput, adjust_p_values, compare_windows, compute_drop_p_value, compute_psi
from recsys.apps.lifecycle.drift_inputs import (
    WindowEvents,
    assign_popularity_tenths,
    collect_inputs,
    collect_recommendations,
    count_values,
)
from recsys.apps.lifecycle.feedback import DAY, Feedback, compute_list_ndcg
from recsys.errors import DataError
from recsys.serving.recommender import Recommender

VALUES = {"hour": 24, "category": 6, "length": 8}


def blocks(n, rng, shift=0.0):
    """Customers, alike within and different among each other; `shift` moves the category."""
    found = []
    for name, n_values in VALUES.items():
        taste = rng.dirichlet(np.full(n_values, 0.5), n)
        if name == "category":
            taste[:, 0] += shift
            taste /= taste.sum(axis=1, keepdims=True)
        found.append(DriftInput(name, np.stack([rng.multinomial(rng.integers(1, 30), row) for row in taste])))
    return found


def test_at_most_one_in_twenty_alarms_where_nothing_has_changed():
    rng = np.random.default_rng(0)
    shop, alarms = blocks(400, rng), 0
    for seed in range(200):
        drawn = rng.choice(400, 120)  # two windows of the same customers
        sample = [DriftInput(each.name, each.counts[drawn]) for each in shop]
        found = compare_windows(sample, np.arange(120) < 60, smallest=0.0, n_resamples=200, seed=seed)
        alarms += any(each.alarm for each in found)
    assert alarms <= 10


def test_events_shuffled_one_by_one_would_alarm_all_the_time():
    rng = np.random.default_rng(0)
    shop, alarms = blocks(120, rng), 0
    for seed in range(20):
        side = rng.permutation(120) < 60
        counts = shop[1].counts[side].sum(axis=0), shop[1].counts[~side].sum(axis=0)
        events = np.eye(VALUES["category"])[np.concatenate([np.repeat(np.arange(6), each) for each in counts])]
        found = compare_windows(
            [DriftInput("category", events)], np.arange(len(events)) < counts[0].sum(), 0.05, 0.0, 100, seed
        )
        alarms += found[0].alarm
    assert alarms > 5


def test_a_shift_of_one_input_is_said_of_that_input():
    rng = np.random.default_rng(1)
    old, new = blocks(100, rng), blocks(100, rng, shift=1.0)
    both = [DriftInput(a.name, np.concatenate([a.counts, b.counts])) for a, b in zip(old, new, strict=True)]
    found = {each.name: each for each in compare_windows(both, np.arange(200) >= 100)}
    assert {name for name, each in found.items() if each.alarm} == {"category"}
    assert found["category"].psi > 0.1
    assert found["category"].overlap < 0.8 < found["hour"].overlap


def test_psi_is_known_and_needs_no_full_cells():
    assert compute_psi(np.array([[10.0, 20.0]]), np.array([[10.0, 20.0]])) == 0
    many = compute_psi(np.array([[5000.0, 5000.0]]), np.array([[7000.0, 3000.0]]))
    assert many[0] == pytest.approx(0.2 * np.log(1.4) - 0.2 * np.log(0.6), rel=1e-3)
    assert np.isfinite(compute_psi(np.array([[0.0, 9.0]]), np.array([[9.0, 0.0]]))).all()


def test_p_values_hold_for_all_inputs_together():
    rng = np.random.default_rng(0)
    smallest = [adjust_p_values(rng.normal(size=(200, 8))).min() for _ in range(300)]
    assert 0.02 < np.mean(np.array(smallest) <= 0.05) < 0.08
    assert adjust_p_values(np.array([[9.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])).tolist() == [0.5, 1.0]


@pytest.fixture
def windows(shop):
    times = np.asarray(shop.timestamps)
    middle = int(np.median(times))
    return WindowEvents.of(shop, (int(times.min()), middle), (middle, int(times.max()) + 1))


def test_windows_hold_every_event_once(shop, windows):
    assert (windows.positions == np.arange(len(shop.items))).all()
    middle = np.median(shop.timestamps)
    assert (windows.is_current[windows.blocks] == (np.asarray(shop.timestamps) >= middle)).all()
    owner = np.repeat(np.arange(shop.n_users), np.diff(shop.offsets))
    assert (windows.users[windows.blocks] == owner).all()


def test_inputs_count_every_event(shop, windows):
    known = np.array(shop.item_counts)
    found = {each.name: each.counts for each in collect_inputs(shop, windows, known)}
    assert set(found) == {
        "history length", "item popularity", "unknown items", "hour", "user.age", "item.aisle", "context.hour",
    }  # fmt: skip
    assert all(counts.sum() == len(shop.items) for counts in found.values())
    assert found["unknown items"].shape[1] == 1
    fewer = {each.name: each.counts for each in collect_inputs(shop, windows, known[:11])}
    assert sorted(fewer["unknown items"].sum(axis=0)) == sorted(np.bincount(np.asarray(shop.items) > 10))


def test_popular_items_are_in_the_first_tenth():
    assert assign_popularity_tenths(np.array([0, 50, 30, 20, 0])).tolist() == [0, 1, 6, 9, 0]


def test_a_shift_to_rare_items_is_drift(shop, windows):
    known = np.array(shop.item_counts)
    current = windows.is_current[windows.blocks]
    turned = shop.n_items + 1 - np.asarray(shop.items)
    shop_like = type("Shop", (), {**vars(shop), "items": np.where(current, turned, shop.items)})()
    for name in ("timestamps", "offsets", "metadata", "events", "encoders", "features"):
        setattr(shop_like, name, getattr(shop, name))
    found = {each.name: each for each in compare_windows(collect_inputs(shop_like, windows, known), windows.is_current)}
    assert found["item popularity"].alarm
    assert not found["unknown items"].alarm


def test_what_is_shown_is_held_side_by_side(shop, windows, artefact):
    times, file = np.asarray(shop.timestamps), Recommender(artefact("sasrec"))
    found = collect_recommendations(shop, windows, file, (int(np.median(times)), int(times.max())), np.arange(6), k=5)
    assert found.counts.sum() == 30
    assert len(found.counts) == 6


def test_rare_values_share_a_column():
    codes = np.arange(1, 101)[:, None].repeat(3, axis=0)
    found = count_values("many", np.concatenate([codes, codes[:1]]), np.zeros(301, dtype=np.int64))
    assert found.counts.shape == (1, 51)
    assert found.counts.sum() == 301


def test_ndcg_of_a_list_that_was_shown():
    assert compute_list_ndcg(["a", "b"], ["a"]) == 1
    assert compute_list_ndcg(["a", "b", "c"], "c") == pytest.approx(0.5)
    assert compute_list_ndcg(["a", "b"], ["b", "x"]) == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))
    assert compute_list_ndcg([7], [7]) == 1
    assert compute_list_ndcg(["a"], []) == compute_list_ndcg(["a"], None) == 0


def test_feedback_rolls_and_its_fall_is_seen(tmp_path):
    rng, lines = np.random.default_rng(0), []
    for day in range(28):
        for _ in range(20):
            good = rng.random() < (0.6 if day < 21 else 0.2)
            lines.append({"time": day * DAY + rng.integers(DAY), "items": ["a", "b"], "taken": ["a"] if good else []})
    path = tmp_path / "feedback.jsonl"
    path.write_text("".join(json.dumps(line, default=int) + "\n" for line in lines))
    found = Feedback.read(path)
    weeks = [mean for _, mean, _ in found.rolling_means(7)]
    assert weeks[-1] < 0.35 < 0.5 < min(weeks[:-1])
    assert compute_drop_p_value(found.between(0, 21 * DAY), found.between(21 * DAY, 28 * DAY)) < 0.01
    assert compute_drop_p_value(found.between(0, 7 * DAY), found.between(7 * DAY, 14 * DAY)) > 0.01
    path.write_text('{"time": 1, "items": []}\n')
    with pytest.raises(DataError, match=r"line 1 of .* is not feedback"):
        Feedback.read(path)
