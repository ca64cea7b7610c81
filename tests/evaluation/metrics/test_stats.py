"""The bootstrap: planted means, symmetry, and what it refuses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.evaluation.metrics import stats
from recsys.evaluation.metrics.stats import bootstrap_interval, independent_difference, paired_difference

VALUES = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20)
PAIRS = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=20)


def test_the_interval_covers_the_planted_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.exponential(2.0, 200), seed) for seed in range(200)]
    # of 200 tries 190 should cover; 4 standard deviations of that are 12
    assert sum(low <= 2 <= high for low, high in intervals) >= 178


def test_the_interval_is_the_normal_one_for_many_users() -> None:
    values = np.random.default_rng(0).integers(0, 2, 100_000)
    low, high = bootstrap_interval(values, level=0.9, n_resamples=4000)
    error = values.std() / np.sqrt(len(values))
    assert [low, high] == pytest.approx([values.mean() - 1.645 * error, values.mean() + 1.645 * error], abs=1e-4)


def test_counting_values_draws_what_drawing_users_draws() -> None:
    values = np.array([0.0, 0.0, 0.5, 1.0, 1.0, 3.0])
    rng = np.random.default_rng(0)
    drawn = [values[rng.integers(6, size=6)].mean() for _ in range(20_000)]
    expected = np.quantile(drawn, [0.1, 0.9])
    assert bootstrap_interval(values, level=0.8, n_resamples=20_000) == pytest.approx(expected, abs=0.05)


@settings(deadline=None)
@given(VALUES, st.integers(0, 9))
def test_the_interval_holds_the_values_and_repeats_by_seed(values: list[float], seed: int) -> None:
    low, high = bootstrap_interval(values, seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert bootstrap_interval(values, seed) == (low, high)


def test_another_seed_draws_another_sample_and_a_higher_level_a_wider_interval() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    (wide_low, wide_high), (low, high) = bootstrap_interval(values, level=0.99), bootstrap_interval(values)
    assert wide_low < low < high < wide_high


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    whole = bootstrap_interval(values)
    monkeypatch.setattr(stats, "CELLS", 170)
    assert bootstrap_interval(values) == pytest.approx(whole, rel=1e-12)


@settings(deadline=None)
@given(PAIRS)
def test_a_swap_turns_the_sign_and_nothing_else(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there.difference == -back.difference
    assert there.p_value == back.p_value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)


@settings(deadline=None)
@given(VALUES)
def test_a_system_does_not_differ_from_itself(values: list[float]) -> None:
    assert paired_difference(values, values) == (0, 0, 0, 1)


def test_pairing_sees_a_small_steady_gain() -> None:
    rng = np.random.default_rng(0)
    b = rng.random(500)
    result = paired_difference(b + rng.normal(0.02, 0.05, 500), b)
    assert result.low < 0.02 < result.high
    assert result.low > 0
    assert result.p_value == pytest.approx(1 / 1001)


def test_p_values_are_uniform_where_nothing_differs() -> None:
    rng = np.random.default_rng(0)
    p = [paired_difference(rng.normal(size=100), rng.normal(size=100), seed).p_value for seed in range(200)]
    # of 200 tries 10 should fall below 0.05 and 100 below 0.5; 4 standard deviations either side
    assert np.sum(np.array(p) < 0.05) <= 22
    assert 72 <= np.sum(np.array(p) < 0.5) <= 128


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval([]), r"values has shape \(0,\)"),
        (lambda: bootstrap_interval([[1.0]]), r"values has shape \(1, 1\)"),
        (lambda: bootstrap_interval([1, np.nan, np.inf]), r"values\[1\] is nan \(2 such"),
        (lambda: bootstrap_interval([1.0], level=1.0), r"level=1\.0 is invalid"),
        (lambda: bootstrap_interval([1.0], n_resamples=0), "n_resamples=0 is invalid"),
        (lambda: paired_difference([1, 2], [1]), "a has 2 users and b 1"),
        (lambda: paired_difference([1], [np.inf]), r"b\[0\] is inf"),
    ],
)
def test_what_is_refused_is_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_independent_difference_is_that_of_the_means_and_its_interval_covers():
    rng = np.random.default_rng(0)
    covered = 0
    for draw in range(100):
        a, b = rng.normal(1, 1, 60), rng.normal(0, 2, 40)
        difference, low, high = independent_difference(a, b, seed=draw, n_resamples=200)
        assert difference == pytest.approx(a.mean() - b.mean())
        covered += low <= 1 <= high
    assert 88 <= covered <= 99
    back = independent_difference(b, a)
    assert back[0] == pytest.approx(-difference)
    with pytest.raises(ValueError, match="b has shape"):
        independent_difference(a, [])
