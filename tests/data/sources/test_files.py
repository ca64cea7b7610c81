"""Every source gives the same events, keeps ids as they are written, and says what it cannot read."""

import gzip
import json
from functools import partial

import pandas as pd
import polars as pl
import pytest

from recsys.data.engines.duckdb import Engine, open_engine
from recsys.data.features import Features
from recsys.data.schema import Columns
from recsys.data.sources.files import Csv, FrameSource, Json, Pairs, Parquet, Sequences
from recsys.errors import DataError
from tests.planted import prepared

FRAME = pd.DataFrame({"user": ["007", "u 2", "ü"], "item": ["0010", "b|c;d", "#1"], "timestamp": [3, 2, 1]})
EVENTS = list(FRAME.astype(str).itertuples(index=False, name=None))


def rows(source, folder, *names):
    """The events of a source as tuples of text, in the order of their ordinals."""
    with open_engine(folder / "stages") as engine:
        frame = source.read(engine).events.sort("_row").collect("pandas").to_native()
    assert frame["_row"].tolist() == list(range(len(frame)))
    return list(frame[list(names) or ["user", "item", "timestamp"]].astype(str).itertuples(index=False, name=None))


@pytest.mark.parametrize("separator", list(",;\t|"))
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_csv_keeps_ids_as_written_and_finds_the_delimiter(tmp_path, separator, suffix):
    path = tmp_path / f"log [a*].{suffix}"  # a name that a glob would read otherwise
    FRAME.to_csv(path, index=False, sep=separator)
    assert rows(Csv(str(path)), tmp_path) == EVENTS


def test_csv_with_byte_order_mark_windows_lines_blank_lines_and_quoted_line_ends(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b'\xef\xbb\xbfuser,item\r\n#u1,"a, ""b"""\r\n\r\nu2,"c\r\nd"\r\n')
    assert rows(Csv(str(path)), tmp_path, "user", "item") == [("#u1", 'a, "b"'), ("u2", "c\r\nd")]


def test_csv_takes_a_path_from_home_and_odd_column_names(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    FRAME.rename(columns={"user": 'we"ird', "item": "select"}).to_csv(tmp_path / "log.csv", index=False)
    assert rows(Csv("~/log.csv"), tmp_path, 'we"ird', "select", "timestamp") == EVENTS


@pytest.mark.parametrize(
    "content, complaint",
    [
        (b"user,item\nu1,a\nu2\nu3,c\n", r"log\.csv': .*Line: 3 .*Expected Number of Columns: 2 Found: 1"),
        (b"user,item\nu1,a\nu2,b,c\n", r"log\.csv': .*Line: 3 .*Expected Number of Columns: 2 Found: 3"),
        (b"user,item\nu1,a\nu\xff2,b\n", r"log\.csv': .*Line: 3 .*not utf-8 encoded.*; fix the source"),
        (b'user,item\nu1,"a\nu2,b\n', r"log\.csv': .*Line: 2 .*unterminated quote"),
        (b"", r"log\.csv' has no header"),
        (b"user,User\nu1,a\n", r"log\.csv' has the column 'user' twice"),
    ],
)
def test_broken_csv_names_file_line_and_fault(tmp_path, content, complaint):
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(DataError, match=complaint) as found:
        rows(Csv(str(tmp_path / "log.csv")), tmp_path, "user", "item")
    assert "ignore_errors" not in str(found.value)


def test_too_little_memory_says_which_setting_to_raise(tmp_path):
    FRAME.to_csv(tmp_path / "log.csv", index=False)
    with (
        pytest.raises(DataError, match=r"Out of Memory.*; raise data\.memory"),
        open_engine(tmp_path, partial(Engine, memory="1MB")) as engine,
    ):
        engine.keep(engine.read_csv(tmp_path / "log.csv"), "read")


def test_csv_with_an_unnamed_index(tmp_path):
    FRAME.to_csv(tmp_path / "log.csv")
    assert rows(Csv(str(tmp_path / "log.csv")), tmp_path) == EVENTS


def test_a_fault_late_in_a_long_csv_is_found(tmp_path):
    (tmp_path / "log.csv").write_text("user,item\n" + "u,i\n" * 40_000 + "u\n" + "u,i\n" * 40_000)
    with pytest.raises(DataError, match="Line: 40002"):
        rows(Csv(str(tmp_path / "log.csv")), tmp_path, "user", "item")


OBJECTS = [dict(zip(("user", "item", "timestamp"), row, strict=True)) for row in EVENTS]


@pytest.mark.parametrize("name", ["log.json", "log [a*].json.gz"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("start, between, end", [("", "\n", "\n"), ("", "\r\n\r\n", ""), ("[", ",\n", "]\n")])
def test_json_lines_and_arrays(tmp_path, name, indent, start, between, end):
    text = start + between.join(json.dumps(row, indent=indent, ensure_ascii=False) for row in OBJECTS) + end
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert rows(Json(str(tmp_path / name)), tmp_path) == EVENTS


def test_json_keeps_every_object_and_every_digit(tmp_path):
    lines = ['{"user": 12345678901234567890123, "item": true}', '{"item": 1.25, "a/b~": "x"}', '{"user": null}']
    (tmp_path / "log.jsonl").write_text("\n".join(lines * 40_000))
    found = rows(Json(str(tmp_path / "log.jsonl")), tmp_path, "user", "item", "a/b~")
    texts = [("12345678901234567890123", "true", "nan"), ("nan", "1.25", "x"), ("nan", "nan", "nan")]
    assert [tuple(str(v).replace("None", "nan") for v in row) for row in found] == texts * 40_000


def test_nested_json_is_an_error_only_where_it_is_used(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"user": 1, "item": 2, "tags": 5}\n{"user": 1, "item": 2, "tags": ["a"]}\n')
    source, columns = Json(str(tmp_path / "log.jsonl")), Columns(timestamp=None)
    assert len(prepared(tmp_path, source, columns=columns).items) == 2
    with pytest.raises(DataError, match="column 'tags' holds lists or objects, not one value"):
        prepared(tmp_path, source, columns=columns, features=Features(context=["tags"]))


@pytest.mark.parametrize(
    "content, complaint",
    [
        (b'{"user": 1}\n{"user": 2\n{"user": 3}\n', r"log\.jsonl.* in line"),
        (b'[{"user": 1}, {"user": 2}', r"Malformed JSON in file .*log\.jsonl"),
        (b'{"user": 1}\n{"user": "\xff"}\n', r"log\.jsonl.*invalid UTF-8"),
        (b'{"user": 1}\n7\n', r"log\.jsonl' holds more than objects; write one object per line"),
        (b'[{"user": 1}] {"user": 2}', r"log\.jsonl' holds more than objects"),
        (b'{"user": 1, "user": 2}', r"log\.jsonl' has the key 'user' twice in one object"),
        (
            b'{"user": 1}\n{"User": 2}',
            r"log\.jsonl' has the column 'user' twice \(upper and lower case count as the same\); rename one",
        ),
        (b"", r"log\.jsonl' holds no object"),
        (b"[]", r"log\.jsonl' holds no object"),
        (b"{}", r"log\.jsonl' holds no object"),
    ],
)
def test_broken_json_names_file_and_fault(tmp_path, content, complaint):
    (tmp_path / "log.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=complaint):
        rows(Json(str(tmp_path / "log.jsonl")), tmp_path, "user")


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "json", "jsonl.gz", "parquet"])
def test_side_tables_are_read_by_the_name_of_their_file(tmp_path, suffix):
    table, path = pd.DataFrame({"item": ["01"], "aisle": ["x"]}), tmp_path / f"items.{suffix}"
    if suffix == "parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False) if "csv" in suffix else table.to_json(path, orient="records", lines=True)
    FRAME.to_csv(tmp_path / "log.csv")
    with open_engine(tmp_path / "stages") as engine:
        found = Csv(str(tmp_path / "log.csv"), items=str(path)).read(engine).items.collect("pandas").to_native()
    assert found[["item", "aisle"]].to_numpy().tolist() == [["01", "x"]]


def test_parquet_file_and_folder_in_order_of_names(tmp_path):
    folder = tmp_path / "events"
    (folder / "b").mkdir(parents=True)
    FRAME.iloc[:1].to_parquet(folder / "a.parquet")
    FRAME.iloc[1:].to_parquet(folder / "b" / "c.parquet")
    FRAME.to_parquet(tmp_path / "whole.pq")
    assert rows(Parquet(str(folder)), tmp_path) == EVENTS
    assert rows(Parquet(str(tmp_path / "whole.pq")), tmp_path) == EVENTS


def test_parquet_that_is_none_names_the_file(tmp_path):
    (tmp_path / "log.parquet").write_text("hello")
    with pytest.raises(DataError, match=r"log\.parquet"):
        rows(Parquet(str(tmp_path / "log.parquet")), tmp_path)


@pytest.mark.parametrize("convert", [pd.DataFrame.copy, pl.from_pandas, lambda f: pl.from_pandas(f).to_arrow()])
def test_frames(tmp_path, convert):
    assert rows(FrameSource(convert(FRAME)), tmp_path) == EVENTS


def test_a_filtered_pandas_frame_keeps_its_order(tmp_path):
    assert rows(FrameSource(FRAME.iloc[[2, 0]]), tmp_path) == [EVENTS[2], EVENTS[0]]


@pytest.mark.parametrize(
    "broken",
    [
        {"user": ["a"]},
        [1, 2],
        pl.LazyFrame({"user": ["a"]}),
        pd.DataFrame({"user": ["a", 1]}, dtype=object),
        pd.DataFrame([[1, 2]], columns=["user", "user"]),
    ],
    ids=["dict", "list", "lazy", "mixed types", "twice"],
)
def test_what_is_no_table_is_named(tmp_path, broken):
    with pytest.raises(DataError, match=r"cannot be read as a table .*pass a pandas, Polars or Arrow frame"):
        FrameSource(broken).identity()
    with pytest.raises(DataError, match="cannot be read as a table"):
        rows(FrameSource(broken), tmp_path)


@pytest.mark.parametrize("opener", [open, gzip.open])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sequences_and_pairs(tmp_path, opener, end):
    name = "log.txt" if opener is open else "log.txt.gz"
    with opener(tmp_path / name, "wb") as file:
        file.write(end.join(["u1 a  b c", "", "\tu2\ta ", "u3", "   ", "u1 d", ""]).encode())
    expected = [("u1", "a"), ("u1", "b"), ("u1", "c"), ("u2", "a"), ("u1", "d")]
    assert rows(Sequences(str(tmp_path / name)), tmp_path, "user", "item") == expected
    with opener(tmp_path / name, "wb") as file:
        file.write(end.join([" 01   a", "", "01\tb\t", "  ", "2 a 5 1999"]).encode())
    assert rows(Pairs(str(tmp_path / name)), tmp_path, "user", "item") == [("01", "a"), ("01", "b"), ("2", "a")]


def test_long_sequences_stay_in_order(tmp_path):
    words = [f"u{u} " + " ".join(f"i{u}.{n}" for n in range(u % 7 + 1)) for u in range(20_000)]
    (tmp_path / "log.txt").write_text("\n".join(words))
    expected = [(line.split()[0], item) for line in words for item in line.split()[1:]]
    assert rows(Sequences(str(tmp_path / "log.txt")), tmp_path, "user", "item") == expected


def test_bad_utf8_in_a_text_file_names_file_and_line(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"u1 a\nu\xff a\n")
    with pytest.raises(DataError, match=r"log\.txt': .*Line: 2"):
        rows(Pairs(str(tmp_path / "log.txt")), tmp_path, "user", "item")


@pytest.mark.parametrize("kind", [Csv, Json, Parquet, Sequences, Pairs])
def test_a_missing_file_is_named_with_its_setting(tmp_path, kind):
    with pytest.raises(DataError, match=r"none\.csv' does not exist; set data\.source\.path"):
        kind(str(tmp_path / "none.csv")).identity()
    FRAME.to_csv(tmp_path / "log.csv")
    with pytest.raises(DataError, match=r"none\.csv' does not exist; set data\.source\.items"):
        kind(str(tmp_path / "log.csv"), items=str(tmp_path / "none.csv")).identity()
    with pytest.raises(DataError, match=r"holds no \.parquet file"):
        kind(str(tmp_path)).identity()


def test_identity_of_a_file_follows_its_content_and_kind(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("u1 a\n")
    second.write_text("u1 a\n")
    assert Pairs(str(first)).identity() == Pairs(str(second)).identity()
    assert Pairs(str(first)).identity() != Sequences(str(first)).identity()
    assert Csv(str(first), items=str(first)).identity() != Csv(str(first), users=str(first)).identity()
    second.write_text("u1 b\n")
    assert Pairs(str(first)).identity() != Pairs(str(second)).identity()


def test_identity_of_a_folder_follows_every_file(tmp_path):
    FRAME.to_parquet(tmp_path / "a.parquet")
    before = Parquet(str(tmp_path)).identity()
    FRAME.to_parquet(tmp_path / "b.parquet")
    assert Parquet(str(tmp_path)).identity() != before


@pytest.mark.parametrize("convert", [pd.DataFrame.copy, pl.from_pandas])
def test_identity_of_a_frame_follows_its_content(convert):
    same, other = FRAME.copy(), FRAME.assign(item=["0010", "b|c;d", "#2"])
    assert FrameSource(convert(FRAME)).identity() == FrameSource(convert(same)).identity()
    found = {
        FrameSource(convert(frame), convert(FRAME) if place == 1 else None, convert(FRAME) if place == 2 else None)
        .identity()
        for frame in (FRAME, other, FRAME.iloc[:2], FRAME.iloc[::-1], FRAME.rename(columns={"user": "who"}))
        for place in range(3)
    }  # fmt: skip
    assert len(found) == 15
