"""Every row is kept or set aside under a rule, and every way to write a time gives the same seconds."""

import datetime as dt
import json

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.engines.duckdb import open_engine
from recsys.data.preparation.validation import validate_events
from recsys.data.schema import Clock, Columns
from recsys.data.sources.files import Csv, FrameSource
from recsys.errors import DataError
from tests.planted import START, planted_log, prepared

MOMENTS = [START, START + 3601, START + 86_400 * 200]  # winter, winter, summer


def validated(folder, frame, columns=Columns(), clock=Clock(), extra=()):  # noqa: B008
    """The kept events and the quarantine as pandas frames in source order, and the counts."""
    source = frame if isinstance(frame, Csv) else FrameSource(frame)
    with open_engine(folder / "stages") as engine:
        found = validate_events(source.read(engine).events, columns, clock, extra, engine)
        kept, aside = (f.sort("row").collect("pandas").to_native() for f in (found.events, found.quarantine))
    assert found.counts["read"] == found.counts["kept"] + len(aside)
    assert found.counts["kept"] == len(kept)
    return kept, aside, found.counts


DEFECTS = {
    "missing_user": [("user", None), ("user", ""), ("user", "  \t")],
    "missing_item": [("item", None), ("item", ""), ("item", "\u00a0 ")],
    "unreadable_timestamp": [("timestamp", None), ("timestamp", "yesterday"), ("timestamp", "nan"),
                             ("timestamp", "1e400")],
    "timestamp_before_1970_or_in_future": [
        ("timestamp", "-5"), ("timestamp", "4102444800"), ("timestamp", "1e12"),
    ],
    "unreadable_weight": [("weight", None), ("weight", "much"), ("weight", "nan"), ("weight", "inf")],
    "negative_weight": [("weight", "-0.5")],
    "unreadable_value": [("value", None), ("value", "five"), ("value", "NaN")],
    "unreadable_row": [("order", None), ("order", "first")],
}  # fmt: skip
CASES = [(rule, column, value) for rule, cases in DEFECTS.items() for column, value in cases]


def sound(n=6):
    """Events without a defect, every column as text."""
    return pd.DataFrame(
        {
            "user": [f"u{i}" for i in range(n)],
            "item": "a",
            "timestamp": [str(START + i) for i in range(n)],
            "weight": "1.5",
            "value": "4",
            "order": [str(i) for i in range(n)],
        }
    ).astype(object)


FULL = Columns(weight="weight", value="value", row="order")


@pytest.mark.parametrize("rule, column, value", CASES)
def test_a_broken_row_is_set_aside_under_its_rule(tmp_path, rule, column, value):
    frame = sound()
    frame.loc[2, column] = value
    kept, aside, counts = validated(tmp_path, frame, FULL)
    assert counts == {"read": 6, "kept": 5, rule: 1}
    assert aside["rule"].tolist() == [rule]
    assert kept["user"].tolist() == ["u0", "u1", "u3", "u4", "u5"]


@given(st.lists(st.sampled_from([None, *CASES]), min_size=1, max_size=30))
@settings(max_examples=15, deadline=None)
def test_counts_against_a_plain_loop(tmp_path_factory, faults):
    frame = sound(len(faults) + 1)
    for row, fault in enumerate(faults):
        if fault is not None:
            frame.loc[row, fault[1]] = fault[2]
    _, aside, counts = validated(tmp_path_factory.mktemp("v"), frame, FULL, Clock(unit="s"))
    expected = [fault[0] for fault in faults if fault is not None]
    assert sorted(aside["rule"]) == sorted(expected)
    assert {k: v for k, v in counts.items() if k not in ("read", "kept")} == {
        rule: expected.count(rule) for rule in expected
    }


def test_clean_data_lose_nothing(tmp_path):
    kept, aside, counts = validated(tmp_path, planted_log())
    assert counts == {"read": len(planted_log()), "kept": len(planted_log())}
    assert len(aside) == 0
    assert kept["user"].tolist() == planted_log()["user"].tolist()


def test_the_prepared_folder_holds_the_quarantine_and_the_report(tmp_path):
    broken = pd.concat([planted_log(), pd.DataFrame({"user": ["u1"], "item": [None], "timestamp": [START]})])
    found = prepared(tmp_path, broken)
    assert pd.read_parquet(found.folder / "quarantine.parquet")["rule"].tolist() == ["missing_item"]
    counts = json.loads((found.folder / "metadata.json").read_text())["counts"]
    assert counts["read"] == counts["kept"] + counts["missing_item"] == len(broken)


@pytest.mark.parametrize("columns, extra", [(Columns(user="customer"), ()), (Columns(), ("customer",))])
def test_a_missing_column_error_lists_those_there_are(tmp_path, columns, extra):
    with pytest.raises(DataError, match=r"'customer' is missing .* there are: user, item, timestamp; name yours"):
        validated(tmp_path, planted_log(), columns, extra=extra)


def test_no_usable_row_says_why(tmp_path):
    with pytest.raises(DataError, match=r"no usable event among 6 read: 6 unreadable_timestamp; see data.columns"):
        validated(tmp_path, sound().assign(timestamp="31.12.2024"))
    with pytest.raises(DataError, match="the source is empty"):
        validated(tmp_path, planted_log().iloc[:0])


@pytest.mark.parametrize("empty", ["user,item,timestamp\n", "user,item,timestamp"])
def test_an_empty_file_says_so(tmp_path, empty):
    (tmp_path / "log.csv").write_text(empty)
    with pytest.raises(DataError, match="the source is empty"):
        validated(tmp_path, Csv(str(tmp_path / "log.csv")))


@pytest.mark.parametrize("ids", [[1.5, 2.0, 3.0], [2.0**53, 1.0, 2.0], [-(2.0**60), 1.0, 2.0], [np.inf, 1.0, 2.0]])
@pytest.mark.parametrize("name", ["user", "item"])
def test_floats_that_are_no_ids_are_refused(tmp_path, ids, name):
    frame = pd.DataFrame({"user": ["a", "b", "c"], "item": ["a", "b", "c"]}).assign(**{name: ids})
    with pytest.raises(DataError, match=f"{name} id .* fractional or over-large float.* nullable integers"):
        validated(tmp_path, frame, Columns(timestamp=None))


def test_short_floats_are_exact_only_to_2_24(tmp_path):
    frame = pd.DataFrame({"user": np.array([2**24 - 1, 1], np.float32), "item": "a"})
    assert validated(tmp_path, frame, Columns(timestamp=None))[0]["user"].tolist() == [2**24 - 1, 1]
    with pytest.raises(DataError, match="over-large"):
        validated(tmp_path, frame.assign(user=np.array([2**24, 1], np.float32)), Columns(timestamp=None))


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame, pa.table])
def test_integers_that_missing_values_made_floats_become_integers(tmp_path, convert):
    frame = convert({"user": [3.0, float("nan"), 2.0], "item": [7, 8, 9]})
    kept, _, counts = validated(tmp_path, frame, Columns(timestamp=None))
    assert kept["user"].tolist() == [3, 2]
    assert pd.api.types.is_integer_dtype(kept["user"])
    assert counts == {"read": 3, "kept": 2, "missing_user": 1}


@pytest.mark.parametrize("ids", [[-7, 2**62], [True, False], [dt.date(2024, 1, 1)] * 2, ["ü 1", "💥"]])
def test_ids_of_many_kinds_are_kept(tmp_path, ids):
    kept = validated(tmp_path, pd.DataFrame({"user": ids, "item": ids}), Columns(timestamp=None))[0]
    expected = ids if type(ids[0]) is int else [str(i).lower() for i in ids]
    assert kept["user"].tolist() == kept["item"].tolist() == expected


def test_one_source_column_may_have_two_roles(tmp_path):
    frame = pd.DataFrame({'a"b': [1, 2], "item": [3, 4]})
    columns = Columns(user='a"b', item="item", timestamp='a"b', weight='a"b', basket="item")
    kept = validated(tmp_path, frame, columns, extra=('a"b', "item"))[0]
    assert kept['extra_a"b'].tolist() == kept["user"].tolist() == [1, 2]
    assert kept["extra_item"].tolist() == kept["basket"].tolist() == [3, 4]


def test_float_and_blank_baskets(tmp_path):
    frame = pl.DataFrame({"user": ["a"] * 3, "item": ["b"] * 3, "basket": [1.0, float("nan"), None]})
    kept = validated(tmp_path, frame, Columns(timestamp=None, basket="basket"))[0]
    assert kept["basket"].isna().tolist() == [False, True, True]


def local(zone):
    return [dt.datetime.fromtimestamp(t, dt.UTC).astimezone(__import__("zoneinfo").ZoneInfo(zone)) for t in MOMENTS]


WRITTEN = {
    "seconds": (MOMENTS, Clock()),
    "float seconds": ([t + 0.5 for t in MOMENTS], Clock()),
    "milliseconds": ([t * 1000 + 1 for t in MOMENTS], Clock()),
    "microseconds": ([t * 10**6 + 1 for t in MOMENTS], Clock()),
    "nanoseconds": ([t * 10**9 for t in MOMENTS], Clock()),
    "numbers as text": ([str(t) for t in MOMENTS], Clock()),
    "named unit": ([t * 1000 for t in MOMENTS], Clock(unit="ms")),
    "ISO with Z": ([dt.datetime.fromtimestamp(t, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for t in MOMENTS], Clock()),
    "ISO with offset": ([t.isoformat() for t in local("Asia/Kolkata")], Clock(zone="Europe/Berlin")),
    "ISO without zone": ([t.replace(tzinfo=None).isoformat(" ") for t in local("UTC")], Clock()),
    "local ISO": ([t.replace(tzinfo=None).isoformat() for t in local("Europe/Berlin")], Clock(zone="Europe/Berlin")),
    "local datetime": ([t.replace(tzinfo=None) for t in local("America/New_York")], Clock(zone="America/New_York")),
    "aware datetime": (local("Europe/Berlin"), Clock(zone="America/New_York")),
}  # fmt: skip


@pytest.mark.parametrize("convert", [pd.DataFrame, pl.DataFrame, "csv"])
@pytest.mark.parametrize("times, clock", WRITTEN.values(), ids=WRITTEN)
def test_every_way_to_write_a_time_gives_the_same_seconds(tmp_path, convert, times, clock):
    frame = {"user": ["a", "b", "c"], "item": ["a", "b", "c"], "timestamp": times}
    if convert == "csv":
        pd.DataFrame(frame).to_csv(tmp_path / "log.csv", index=False)
        source = Csv(str(tmp_path / "log.csv"))
    else:
        source = convert(frame)
    kept = validated(tmp_path, source, clock=clock)[0]
    assert (kept["timestamp"] // 1_000_000).tolist() == MOMENTS


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_numpy_datetimes_of_every_unit(tmp_path, unit):
    times = pd.Series(pd.to_datetime(MOMENTS, unit="s")).astype(f"datetime64[{unit}]")
    kept = validated(tmp_path, pd.DataFrame({"user": "a", "item": "b", "timestamp": times}))[0]
    assert kept["timestamp"].tolist() == [t * 1_000_000 for t in MOMENTS]


def test_dates_are_midnight_in_the_zone(tmp_path):
    frame = pd.DataFrame({"user": "a", "item": "b", "timestamp": [dt.date(2024, 7, 1)]})
    kept = validated(tmp_path, frame, clock=Clock(zone="Europe/Berlin"))[0]
    assert kept["timestamp"].tolist() == [dt.datetime(2024, 6, 30, 22, tzinfo=dt.UTC).timestamp() * 1e6]


@pytest.mark.parametrize("times", [[True, False], [dt.time(3), dt.time(4)], [None, None], [["a"], ["b"]]])
def test_times_of_a_type_that_holds_none_are_unreadable(tmp_path, times):
    with pytest.raises(DataError, match="unreadable_timestamp"):
        validated(tmp_path, pd.DataFrame({"user": "a", "item": "b", "timestamp": times}))


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc", "UTC'; SELECT 1", "Europe"])
def test_an_unknown_zone_is_refused_at_once(zone):
    with pytest.raises(DataError, match=r"time zone .* unknown; write data.clock.zone like Europe/Berlin"):
        Clock(zone=zone)


def test_an_unknown_unit_is_refused_at_once():
    with pytest.raises(DataError, match="'h' is unknown; use auto, s, ms, us, ns"):
        Clock(unit="h")


def test_a_failed_conversion_leaves_the_engine_in_utc(tmp_path):
    with open_engine(tmp_path / "stages") as engine:
        frame = engine.from_frame(pd.DataFrame({"timestamp": ["2024-01-01"]}))
        broken = frame.with_columns(x=nw.col("timestamp").cast(nw.Int64))
        with pytest.raises(Exception, match="2024"):
            engine.to_microseconds(broken, "timestamp", Clock(zone="Asia/Tokyo"))
        assert engine.connection.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_engine_columns_with_quotes_in_their_names(tmp_path):
    with open_engine(tmp_path / "stages") as engine:
        frame = engine.from_frame(pd.DataFrame({'a"b': [" 1 ", "x"]}))
        assert engine.to_number(frame, 'a"b').select('a"b').collect("pyarrow").to_native()[0].to_pylist() == [1, None]
        assert engine.to_text(frame, 'a"b').select('a"b').collect("pyarrow").to_native()[0].to_pylist() == ["1", "x"]
        with pytest.raises(DataError, match="column 'c' is missing; there are: a\"b, _row"):
            engine.to_text(frame, "c")


@given(st.lists(st.text(max_size=8), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_any_text_is_an_id_or_missing(tmp_path_factory, ids):
    frame = pd.DataFrame({"user": ["a", *ids], "item": "b"})
    kept, _, counts = validated(tmp_path_factory.mktemp("v"), frame, Columns(timestamp=None))
    stripped = [i.strip(" \t\r\n\u00a0") for i in ["a", *ids]]
    assert kept["user"].tolist() == [i for i in stripped if i]
    assert counts["read"] == len(stripped)
