"""One log gives one dataset, whatever its source, and a failure leaves none."""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.dataset import Dataset
from recsys.data.features import Features
from recsys.data.preparation import prepare as module
from recsys.data.preparation.filters import Filters
from recsys.data.preparation.fingerprint import FORMAT
from recsys.data.preparation.splits import GlobalTime, LeaveOneOut, Random
from recsys.data.schema import Clock, Columns
from recsys.data.sources.files import Csv, FrameSource, Pairs, Parquet, Sequences
from recsys.errors import DataError
from tests.planted import START, planted_baskets, planted_items, planted_log, planted_users, prepared, successor

ROOT = Path(__file__).parents[3]


def hashes(dataset):
    return dataset.metadata["arrays"]


def histories(dataset):
    """The raw items of each raw user, in order."""
    users = pd.read_parquet(dataset.folder / "users.parquet")["user"]
    items = np.array([None, *dataset.raw_items().to_pylist()], dtype=object)
    return {
        user: items[dataset.items[a:b]].tolist()
        for user, a, b in zip(users, dataset.offsets[:-1], dataset.offsets[1:], strict=True)
    }


def test_order_is_user_then_time(dataset):
    rows = planted_log().sort_values(["user", "timestamp"])
    assert histories(dataset) == rows.groupby("user")["item"].agg(list).to_dict()
    assert dataset.timestamps.tolist() == rows["timestamp"].tolist()


def test_the_planted_answer_survives(dataset):
    items = [int(i[1:]) for h in histories(dataset).values() for i in h]
    hits = [b == successor(a) for a, b in itertools.pairwise(items)]
    assert np.mean(hits) > 0.75  # 10 % jump, and each user's first item follows another user's last


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=40))
@settings(max_examples=15, deadline=None)
def test_ties_keep_the_order_of_rows(tmp_path_factory, rows):
    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    found = prepared(tmp_path_factory.mktemp("ties"), frame.assign(timestamp=frame["timestamp"] + START))
    ordered = sorted(rows, key=lambda row: (row[0], row[2]))  # sorted() is stable
    expected = {}
    for user, item, _ in ordered:
        expected.setdefault(user, []).append(item)
    assert histories(found) == expected


def test_a_named_row_column_decides_ties(tmp_path):
    frame = pd.DataFrame({"user": "u", "item": list("abcd"), "timestamp": START, "line": ["10", "9", "2", "1"]})
    assert histories(prepared(tmp_path, frame, columns=Columns(row="line"))) == {"u": ["d", "c", "b", "a"]}
    assert histories(prepared(tmp_path, frame)) == {"u": ["a", "b", "c", "d"]}


def test_items_are_numbered_by_training_count_then_id_and_later_ones_last(tmp_path):
    frame = pd.DataFrame({"user": "u", "item": list("bbaaczzzzy"), "timestamp": START + np.arange(10)})
    cut = pd.Timestamp(START + 6, unit="s").isoformat()
    found = prepared(tmp_path, frame, GlobalTime(cut=cut, validation=0.1))
    assert found.raw_items().to_pylist() == ["a", "b", "c", "y", "z"]
    assert found.bounds.tolist() == [[5, 6]]
    assert (found.n_items, found.metadata["n_later_items"]) == (3, 2)
    assert found.item_counts.tolist() == [0, 2, 2, 1]
    assert pd.read_parquet(found.folder / "items.parquet")["n"].tolist() == [2, 2, 1, 0, 0]


@pytest.mark.parametrize("split", [LeaveOneOut(), GlobalTime(), Random()], ids=lambda split: type(split).__name__)
def test_counts_are_of_training_events_alone(tmp_path, split):
    found = prepared(tmp_path, planted_log(), split)
    at = np.arange(len(found.items))
    training = at < np.repeat(found.bounds[:, 0], np.diff(found.offsets))
    expected = np.bincount(found.items[training], minlength=found.n_items + 1)
    assert found.item_counts.tolist() == expected.tolist()
    assert (np.diff(found.item_counts[1:]) <= 0).all()
    assert found.items.min() == 1


def test_dtypes_and_report(shop):
    kinds = {"items": "int32", "baskets": "int64", "offsets": "int64", "bounds": "int64", "timestamps": "int64"}
    assert {name: str(getattr(shop, name).dtype) for name in kinds} == kinds
    assert shop.metadata["counts"]["events"] == len(shop.items) == len(planted_baskets())
    assert not (shop.folder / "stages").exists()
    assert shop.weights is None and shop.has_baskets
    assert set(hashes(shop)) == {path.stem for path in shop.folder.glob("*.npy")}


def test_weights_travel_with_their_events(tmp_path):
    frame = planted_log()
    frame["weight"] = frame["item"].str[1:].astype(int) + 0.5
    found = prepared(tmp_path, frame, columns=Columns(weight="weight"))
    expected = [int(i[1:]) + 0.5 for h in histories(found).values() for i in h]
    assert found.weights.dtype == np.float32 and found.weights.tolist() == expected


def test_a_second_call_reads_nothing(tmp_path, monkeypatch):
    first = prepared(tmp_path, planted_log())
    stamps = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    monkeypatch.setattr(FrameSource, "read", None)
    second = prepared(tmp_path, planted_log())
    assert second.folder == first.folder
    assert stamps == {path: path.stat().st_mtime_ns for path in second.folder.iterdir()}
    assert second.split_hash == first.split_hash


def test_the_folder_changes_with_every_setting(tmp_path):
    frame = planted_baskets().assign(event="buy", value=3.0, weight=1.0, line=range(len(planted_baskets())))
    tables = FrameSource(frame, planted_items(), planted_users())
    changes = [
        {}, {"name": "other"}, {"exclude_seen": False}, {"seed": 1},
        {"source": FrameSource(frame.iloc[1:], planted_items(), planted_users())},
        {"source": FrameSource(frame, planted_items())},
        *({"columns": Columns(**{role: role})} for role in ("event", "value", "weight", "basket")),
        {"columns": Columns(row="line")}, {"columns": Columns(timestamp=None)}, {"columns": Columns(session="line")},
        {"columns": Columns(event="event"), "refund_events": ["back"]},
        {"clock": Clock(unit="s")}, {"clock": Clock(zone="Asia/Tokyo")},
        *({"filters": Filters(**{k: v})} for k, v in (
            ("start", "2000-01-01"), ("end", "2100-01-01"), ("first_only", True), ("user_core", 2), ("item_core", 2),
            ("item_min_training", 2), ("user_min_training", 1))),
        *({"features": Features(**{k: v})} for k, v in (
            ("user", ["age"]), ("item", ["aisle"]), ("context", ["hour"]), ("separator", "/"))),
        {"split": GlobalTime()}, {"split": GlobalTime(quantile=0.8)}, {"split": GlobalTime(targets="first")},
        {"split": Random()}, {"split": Random(seed=1)},
    ]  # fmt: skip
    found = {prepared(tmp_path, **{"source": tables, **change}).folder for change in changes}
    assert len(found) == len(changes)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_lists_and_tuples_are_one_setting(tmp_path):
    first = prepared(tmp_path, planted_log(), features=Features(context=["hour"]))
    assert prepared(tmp_path, planted_log(), features=Features(context=("hour",))).folder == first.folder


SOURCES = {
    "pandas": lambda frame, folder: FrameSource(frame),
    "polars": lambda frame, folder: FrameSource(pl.from_pandas(frame)),
    "arrow": lambda frame, folder: FrameSource(pl.from_pandas(frame).to_arrow()),
    "categories": lambda frame, folder: FrameSource(frame.astype({"user": "category", "item": "category"})),
    "csv": lambda frame, folder: frame.to_csv(folder / "log.csv", index=False) or Csv(str(folder / "log.csv")),
    "parquet": lambda frame, folder: frame.to_parquet(folder / "log.parquet") or Parquet(str(folder / "log.parquet")),
}


@pytest.mark.parametrize("kind", list(SOURCES))
@pytest.mark.parametrize("columns", [Columns(), Columns(basket="basket"), Columns(basket="basket", timestamp=None)])
def test_every_source_gives_the_same_bytes(tmp_path, kind, columns):
    frame = planted_baskets()
    frame["visit"] = frame["basket"]
    expected = prepared(tmp_path / "frame", frame, columns=columns, features=Features(context=["visit"]))
    source = SOURCES[kind](frame, tmp_path)
    found = prepared(tmp_path / kind, source, columns=columns, features=Features(context=["visit"]))
    assert hashes(found) == hashes(expected)
    assert found.split_hash == expected.split_hash
    assert histories(found) == histories(expected)


def test_text_files_of_the_literature_give_the_same_bytes(tmp_path):
    frame = planted_log().sort_values(["user", "timestamp"])
    lines = frame.groupby("user")["item"].agg(" ".join)
    (tmp_path / "sequences.txt").write_text("".join(f"{user} {items}\n" for user, items in lines.items()))
    (tmp_path / "pairs.txt").write_text(
        "".join(f"{u} {i}\n" for u, i in zip(frame["user"], frame["item"], strict=True))
    )
    columns = Columns(timestamp=None)
    expected = prepared(tmp_path, frame, columns=columns)
    for source in (Sequences(str(tmp_path / "sequences.txt")), Pairs(str(tmp_path / "pairs.txt"))):
        assert hashes(prepared(tmp_path, source, columns=columns)) == hashes(expected)
    assert expected.timestamps is None


def baskets_of(dataset):
    """The multiset of items of every basket, in order."""
    cuts = np.flatnonzero(np.diff(dataset.baskets)) + 1
    return [Counter(part.tolist()) for part in np.split(np.asarray(dataset.items), cuts)]


@pytest.mark.parametrize("split", [LeaveOneOut(), GlobalTime(), Random()], ids=lambda split: type(split).__name__)
def test_rows_permuted_inside_baskets_give_the_same_baskets(tmp_path, split):
    frame = planted_baskets()
    other = frame.sample(frac=1, random_state=3)
    found, again = (prepared(tmp_path, f, split, columns=Columns(basket="basket")) for f in (frame, other))
    assert baskets_of(found) == baskets_of(again)
    assert (found.bounds == again.bounds).all() and (found.item_counts == again.item_counts).all()
    assert sum(map(Counter.total, baskets_of(found))) == len(frame)


def test_order_inside_a_basket_is_a_shuffle_by_the_seed(tmp_path):
    frame = pd.DataFrame({"user": "u", "item": [f"{i:02}" for i in range(60)], "timestamp": START, "basket": 1})
    first, again, other = (
        histories(prepared(tmp_path / folder, frame, columns=Columns(basket="basket"), seed=seed))["u"]
        for folder, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first == again != other
    assert sorted(first) == sorted(other) == frame["item"].tolist() != first


def test_events_of_a_basket_share_its_first_time_and_a_blank_basket_is_no_basket(tmp_path):
    frame = pd.DataFrame(
        {"user": "u", "item": list("abcdef"), "timestamp": START + np.array([5, 0, 1, 2, 3, 4]),
         "basket": ["x", "x", None, "", "y", "y"]}
    )  # fmt: skip
    found = prepared(tmp_path, frame, columns=Columns(basket="basket"))
    assert (found.timestamps - START).tolist() == [0, 0, 1, 2, 3, 3]
    assert found.baskets.tolist() == [0, 0, 1, 2, 3, 3]
    assert found.bounds.tolist() == [[3, 4]]


def test_one_basket_name_of_two_users_is_two_baskets(tmp_path):
    frame = pd.DataFrame({"user": list("aabb"), "item": list("wxyz"), "timestamp": START + np.arange(4), "basket": 1})
    assert prepared(tmp_path, frame, columns=Columns(basket="basket")).baskets.tolist() == [0, 0, 1, 1]


def test_baskets_are_numbered_without_gaps_after_filters(tmp_path):
    frame = pd.DataFrame(
        {"user": ["u"] * 6, "item": list("aabcaa"), "timestamp": START + np.arange(6), "basket": [1, 1, 2, 3, 4, 4]}
    )
    found = prepared(tmp_path, frame, columns=Columns(basket="basket"), filters=Filters(item_core=2))
    assert found.baskets.tolist() == [0, 0, 1, 1]
    assert found.has_baskets
    assert not prepared(tmp_path, frame, Random()).has_baskets


@pytest.mark.parametrize("late", ["write_arrays", "select_side_tables", "drop_rare_items", "read_log"])
def test_a_failure_leaves_nothing(tmp_path, monkeypatch, late):
    def fail(*arguments):
        raise KeyboardInterrupt(late)

    monkeypatch.setattr(module, late, fail)
    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path, planted_log())
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(prepared(tmp_path, planted_log()).items) == len(planted_log())


KILLED = """
import os, signal
from recsys.data.preparation import {module} as module
from tests.planted import planted_log, prepared
def die(*arguments, **settings):
    os.kill(os.getpid(), signal.SIGKILL)
module.{step} = die
prepared({folder!r}, planted_log())
"""
WHOLE = "from tests.planted import planted_log, prepared; print(prepared({folder!r}, planted_log()).split_hash)"


def start(code):
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    "where, step", [("prepare", "read_log"), ("array_writer", "_write_ids"), ("staging", "Path.rename")]
)
def test_a_killed_run_leaves_no_dataset_behind(tmp_path, where, step):
    process = start(KILLED.format(module=where, step=step, folder=str(tmp_path)))
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    found = prepared(tmp_path, planted_log())
    assert len(found.items) == len(planted_log())


def test_two_processes_at_once_give_one_dataset(tmp_path):
    both = [start(WHOLE.format(folder=str(tmp_path))) for _ in range(2)]
    found = {process.communicate(timeout=100)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 1
    assert found == {prepared(tmp_path, planted_log()).split_hash}


def test_a_slower_process_takes_the_faster_ones_dataset(tmp_path, monkeypatch):
    real = module.write_arrays

    def slow(*arguments):
        monkeypatch.setattr(module, "write_arrays", real)
        faster.append(prepared(tmp_path, planted_log()))
        return real(*arguments)

    faster: list[Dataset] = []
    monkeypatch.setattr(module, "write_arrays", slow)
    found = prepared(tmp_path, planted_log())
    assert found.folder == faster[0].folder
    assert list(tmp_path.iterdir()) == [found.folder]


def test_a_folder_without_metadata_is_no_dataset(tmp_path):
    found = prepared(tmp_path, planted_log())
    (found.folder / "metadata.json").unlink()
    with pytest.raises(DataError, match=r"lacks metadata.json; delete that folder"):
        prepared(tmp_path, planted_log())


@pytest.mark.parametrize("split", [LeaveOneOut(), GlobalTime(), Random()], ids=lambda split: type(split).__name__)
@pytest.mark.parametrize("n_users, n_items", [(1, 9), (9, 1), (1, 1)])
def test_one_user_and_one_item(tmp_path, split, n_users, n_items):
    rows = [(f"u{u}", f"i{n % n_items}", START + n) for u in range(n_users) for n in range(12)]
    found = prepared(tmp_path, pd.DataFrame(rows, columns=["user", "item", "timestamp"]), split)
    assert (found.n_users, found.n_items + found.metadata["n_later_items"]) == (n_users, n_items)
    assert len(found.items) == len(rows)


def test_one_event(tmp_path):
    frame = pd.DataFrame({"user": ["u"], "item": ["i"], "timestamp": [START]})
    for split in (LeaveOneOut(), Random()):
        assert len(prepared(tmp_path, frame, split).items) == 1
    with pytest.raises(DataError, match="0 of 1 events are before the cut"):
        prepared(tmp_path, frame, GlobalTime())


def test_metadata_is_plain_json(shop):
    text = (shop.folder / "metadata.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["format"] == FORMAT


def test_the_folder_is_readable_by_whom_the_umask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        assert prepared(tmp_path, planted_log()).folder.stat().st_mode & 0o777 == 0o755
    finally:
        os.umask(before)
