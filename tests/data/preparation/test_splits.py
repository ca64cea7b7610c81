"""Splits at their boundaries, and none that cuts a basket."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.event_log import EventLog
from recsys.data.preparation.splits import GlobalTime, LeaveOneOut, Random, drop_rare_items
from recsys.data.schema import MICROSECONDS, Columns
from recsys.errors import DataError
from tests.planted import START, planted_log, prepared


def make_log(baskets_of_users, times=None):
    """A log of users given as lists of basket sizes; every basket is at its own second unless `times` says."""
    users, baskets, moments = [], [], []
    for user, sizes in enumerate(baskets_of_users):
        for place, size in enumerate(sizes):
            users += [user] * size
            baskets += [baskets[-1] + 1 if baskets else 0] * size
            moments += [times[user][place] if times else place] * size
    stamps = (START + np.array(moments, dtype=np.int64)) * MICROSECONDS
    return EventLog(
        np.array(users, np.int32), np.arange(len(users), dtype=np.int32), np.array(baskets, np.int64), stamps
    )


BASKETS = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=8), min_size=1, max_size=8)


def test_leave_one_out_boundaries():
    parts = LeaveOneOut()(make_log([[1, 1, 1], [1, 1], [1], [1] * 5]))
    assert parts.bounds.tolist() == [[1, 2], [5, 5], [6, 6], [9, 10]]


def test_leave_one_out_takes_whole_baskets():
    parts = LeaveOneOut()(make_log([[2, 3, 1, 2], [4, 4]]))
    assert parts.bounds.tolist() == [[5, 6], [16, 16]]


def test_users_under_three_events_are_wholly_in_training(tmp_path):
    frame = pd.DataFrame({"user": list("aabccc"), "item": list("xyxxyz"), "timestamp": START + np.arange(6)})
    found = prepared(tmp_path, frame)
    assert found.bounds.tolist() == [[2, 2], [3, 3], [4, 5]]
    assert found.n_items == 2  # z was only tested: it comes later
    assert found.raw_items().to_pylist() == ["x", "y", "z"]


@given(BASKETS)
def test_leave_one_out_against_lists(sizes):
    parts = LeaveOneOut()(make_log(sizes))
    offset, expected = 0, []
    for user in sizes:
        end = offset + sum(user)
        expected.append([end, end] if len(user) < 3 else [end - user[-1] - user[-2], end - user[-1]])
        offset = end
    assert parts.bounds.tolist() == expected


def test_an_event_at_the_cut_is_test():
    log = make_log([[1] * 10])
    cut = pd.Timestamp(START + 7, unit="s").isoformat()
    parts = GlobalTime(cut=cut, validation=0.2)(log)
    assert parts.bounds.tolist() == [[5, 7]]
    assert parts.cuts == (START + 5, START + 7)


def test_events_of_one_moment_stay_together_at_either_cut():
    times = [[0, 1, 2, 3, 4, 4, 4, 7, 8, 8]]
    parts = GlobalTime(cut=pd.Timestamp(START + 8, unit="s").isoformat(), validation=0.2)(make_log([[1] * 10], times))
    assert parts.bounds.tolist() == [[4, 8]]


@given(BASKETS, st.floats(0.3, 0.9), st.data())
def test_global_time_against_a_plain_comparison(sizes, quantile, data):
    times = [sorted(data.draw(st.lists(st.integers(0, 40), min_size=len(s), max_size=len(s)))) for s in sizes]
    log = make_log(sizes, times)
    try:
        parts = GlobalTime(quantile=quantile, validation=0.2)(log)
    except DataError:
        return
    assert parts.cuts is not None and log.timestamps is not None
    seconds = log.timestamps // MICROSECONDS
    at = np.arange(len(log))
    test = np.ceil(np.quantile(log.timestamps, quantile))
    assert ((at >= parts.bounds[log.users, 1]) == (log.timestamps >= test)).all()
    assert ((at >= parts.bounds[log.users, 0]) == (seconds >= parts.cuts[0])).all()
    training, validation = at < parts.bounds[log.users, 0], (at < parts.bounds[log.users, 1])
    assert training.any() and (validation & ~training).any() and not validation.all()


def test_new_users_and_items_have_no_training_event(tmp_path):
    frame = pd.DataFrame(
        {"user": list("aaaaaaaabb"), "item": list("xyxyxyxyxz"), "timestamp": START + np.array([*range(8), 8, 9])}
    )
    cut = pd.Timestamp(START + 8, unit="s").isoformat()
    found = prepared(tmp_path, frame, GlobalTime(cut=cut, validation=0.1))
    assert found.bounds.tolist() == [[7, 8], [8, 8]]
    assert found.user_rows.tolist() == [1, 0]
    assert found.n_users == 2
    assert (found.n_items, found.metadata["n_later_items"]) == (2, 1)
    assert found.metadata["cuts"] == [START + 7, START + 8]


@pytest.mark.parametrize("n", [3, 5, 9, 11])
def test_small_logs_have_an_event_in_every_part(n):
    parts = GlobalTime()(make_log([[1] * n]))
    assert 0 < parts.bounds[0, 0] < parts.bounds[0, 1] < n


@pytest.mark.parametrize(
    "settings, times",
    [({}, [5] * 10), ({}, [5] * 9 + [6]), ({"cut": "2000-01-01"}, range(10)), ({"cut": "2100-01-01"}, range(10))],
)
def test_times_that_allow_no_split_say_so(settings, times):
    with pytest.raises(DataError, match=r"of 10 events are before the cut at \d+ s.*; choose another split.cut"):
        GlobalTime(**settings)(make_log([[1] * 10], [list(times)]))


def test_global_time_needs_times(tmp_path):
    frame = planted_log().drop(columns="timestamp")
    with pytest.raises(DataError, match=r"needs times; name the column under data.columns.timestamp"):
        prepared(tmp_path, frame, GlobalTime(), columns=Columns(timestamp=None))


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"targets": "some"}, "split.targets='some' is unknown; use all, first or last"),
        ({"quantile": 1.0}, "quantile"),
        ({"validation": 0.0}, "validation"),
        ({"validation": 0.95}, "validation"),
    ],
)
def test_global_time_settings_are_checked_at_once(settings, complaint):
    with pytest.raises(DataError, match=complaint):
        GlobalTime(**settings)


@pytest.mark.parametrize("settings", [{"test": 0.0}, {"test": 0.7, "validation": 0.3}, {"validation": -0.1}])
def test_random_settings_are_checked_at_once(settings):
    with pytest.raises(DataError, match="split: need test"):
        Random(**settings)


def test_a_cut_that_is_no_time():
    with pytest.raises(DataError, match=r"split.cut='soon' is not a time"):
        GlobalTime(cut="soon")(make_log([[1] * 10]))


@given(BASKETS, st.integers(0, 5))
def test_random_takes_each_users_share_of_baskets(sizes, seed):
    log = make_log(sizes)
    split = Random(test=0.25, validation=0.2, seed=seed)
    parts = split(log)
    assert (parts.log.users == log.users).all()
    assert sorted(parts.log.items.tolist()) == log.items.tolist()
    for user, baskets in enumerate(sizes):
        validation, test = parts.bounds[user]
        end = parts.log.offsets[user + 1]
        held = len(set(parts.log.baskets[test:end])), len(set(parts.log.baskets[validation:test]))
        assert held == (round(0.25 * len(baskets)), round(0.2 * len(baskets)))
    again = split(log)
    assert (again.log.items == parts.log.items).all() and (again.bounds == parts.bounds).all()


def test_random_depends_on_its_seed_only():
    log = make_log([[1] * 40])
    first, second = Random(seed=1)(log), Random(seed=2)(log)
    assert not (first.log.items == second.log.items).all()
    assert (first.bounds == second.bounds).all()


@given(BASKETS, st.sampled_from([LeaveOneOut(), GlobalTime(0.6, 0.2), Random(0.4, 0.2)]), st.integers(0, 3))
def test_no_split_cuts_a_basket(sizes, split, minimum):
    log = make_log(sizes)
    before = dict(zip(log.items.tolist(), log.baskets.tolist(), strict=True))
    try:
        parts = drop_rare_items(split(log), minimum)
    except DataError:
        return
    part = (np.arange(len(parts.log))[:, None] >= parts.bounds[parts.log.users]).sum(axis=1)
    found = {}
    for item, where in zip(parts.log.items.tolist(), part.tolist(), strict=True):
        assert found.setdefault(before[item], where) == where
    numbers = parts.log.baskets
    assert (np.diff(numbers) >= 0).all()
    if minimum <= 1:
        assert len(set(numbers.tolist())) == sum(map(len, sizes))
        assert all(len({before[i] for i in parts.log.items[numbers == n].tolist()}) == 1 for n in numbers)
    assert (np.diff(parts.bounds, axis=1) >= 0).all()


@given(BASKETS, st.sampled_from([LeaveOneOut(), Random(0.4, 0.2)]), st.integers(1, 4), st.integers(1, 3))
def test_rare_items_leave_every_part_against_a_plain_count(sizes, split, n_items, minimum):
    log = make_log(sizes)
    parts = split(replace(log, items=(log.items % n_items).astype(np.int32)))
    part = (np.arange(len(log))[:, None] >= parts.bounds[parts.log.users]).sum(axis=1).tolist()
    rows = list(zip(parts.log.users.tolist(), parts.log.items.tolist(), part, strict=True))
    often = {item for item in range(n_items) if sum(i == item and p < 2 for _, i, p in rows) >= minimum}
    found = drop_rare_items(parts, minimum)
    part = (np.arange(len(found.log))[:, None] >= found.bounds[found.log.users]).sum(axis=1).tolist()
    expected = rows if minimum == 1 else [row for row in rows if row[1] in often]
    assert list(zip(found.log.users.tolist(), found.log.items.tolist(), part, strict=True)) == expected
