"""A database gives the events that a file would, in chunks, and tells nobody its password."""

import gc
import sqlite3
import sys
import tempfile
import traceback
from contextlib import closing

import pandas as pd
import pyarrow.parquet as pq
import pytest

from recsys.data.engines.duckdb import open_engine
from recsys.data.schema import Clock, Columns
from recsys.data.sources import sql
from recsys.data.sources.files import Csv
from recsys.data.sources.sql import Sql, open_connection
from recsys.errors import DataError
from recsys.run import Run
from tests.composed import composed
from tests.data.sources.test_files import rows
from tests.faults import said
from tests.planted import planted_baskets, planted_items, prepared

FRAME = planted_baskets()


@pytest.fixture
def lite(tmp_path):
    """The URL of a SQLite file with the tables events and items."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        FRAME.to_sql("events", connection, index=False)
        planted_items().to_sql("items", connection, index=False)
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture(scope="module")
def postgres(postgres_server):
    """The URL of a PostgreSQL with the table Events."""
    with open_connection(postgres_server) as connection, connection.begin():
        FRAME.to_sql("Events", connection, index=False, if_exists="replace")
    return postgres_server


def written(folder):
    FRAME.to_csv(folder / "log.csv", index=False)
    return Csv(str(folder / "log.csv"))


@pytest.mark.parametrize("chunk", [7, 100_000])
@pytest.mark.parametrize(
    "events", ["events", "main.events", "SELECT * FROM events", "\nWITH e AS (SELECT * FROM events)\nSELECT * FROM e;"]
)
def test_sqlite_gives_what_a_csv_gives(tmp_path, lite, monkeypatch, chunk, events):
    monkeypatch.setattr(sql, "ROWS_PER_CHUNK", chunk)
    columns = Columns(basket="basket")
    found = prepared(tmp_path / "sql", Sql(lite, events), columns=columns)
    expected = prepared(tmp_path / "csv", written(tmp_path), columns=columns)
    assert found.metadata["arrays"] == expected.metadata["arrays"]
    assert found.split_hash == expected.split_hash


def test_side_tables_and_nulls(tmp_path, lite):
    source = Sql(
        lite, "SELECT 'u' AS user, NULL AS item, 1.5 AS timestamp", items="items", users="SELECT 1 AS user, 2 AS age"
    )
    assert [tuple(map(str, row)) for row in rows(source, tmp_path)] == [("u", "nan", "1.5")]
    with open_engine(tmp_path / "stages") as engine:
        tables = source.read(engine)
        assert tables.items.select("item", "aisle").collect("pandas").to_native().equals(planted_items().astype("str"))
        assert tables.users.select("age").collect("pyarrow").item() == "2"


def test_what_is_hashed_is_what_is_read(tmp_path, lite):
    source, again = Sql(lite, "events"), Sql(lite, "SELECT * FROM events")
    assert source.identity() == again.identity()
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("DELETE FROM events WHERE item = 'i00'")
    assert len(rows(source, tmp_path)) == len(FRAME)
    assert Sql(lite, "events").identity() != source.identity()


def test_the_staged_rows_go_with_the_source(tmp_path, lite, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "staged"))
    (tmp_path / "staged").mkdir()
    source = Sql(lite, "events")
    source.identity()
    assert list((tmp_path / "staged").iterdir())
    del source
    with pytest.raises(DataError, match="no such table: none"):
        Sql(lite, "none").identity()
    gc.collect()
    assert list((tmp_path / "staged").iterdir()) == []


@pytest.mark.parametrize(
    "url, events, complaint",
    [
        ("sqlite:///{folder}/none.db", "events", r"SQLite file '.*none\.db' does not exist; see data\.source\.url"),
        ("{lite}", "orders", r"database 'sqlite:.*shop\.db': no such table: orders; see data\.source\.url"),
        ("{lite}", "SELECT user frm events, x", r"syntax error"),
        ("{lite}", "DELETE FROM events", r"does not return rows"),
        ("{lite}", "SELECT 1 AS a, 2 AS A", r"has the column 'a' twice .*; rename one with AS"),
        ("{lite}", "SELECT x'00' AS a", r"column 'a' holds a bytes, not one value; leave it out with a SELECT"),
        ("{folder}/shop.db", "events", r"data\.source\.url is not a database address; write dialect://"),
        ("oracle+cx://me:secret@h/d", "events", r"Can't load plugin|needs a driver"),
        ("mysql+mysqldb://me:secret@h/d", "events", r"'mysql\+mysqldb://me:\*\*\*@h/d' needs a driver .*pip install"),
        ("postgresql://me:secret@127.0.0.1:1/d", "events", r"database 'postgresql.*me:\*\*\*@127.0.0.1:1.*refused"),
        ("postgresql://me:secret@h:x/d", "events", r"data\.source\.url is not a database address"),
        ("postgresql://me:$NOBODYS@h/d", "events", r"names \$NOBODYS, which is not set; export NOBODYS=VALUE"),
        ("postgresql://127.0.0.1:1/d?password=secret", "events", r"database 'postgresql.*127.0.0.1:1/d': .*refused"),
        ("postgresql://me:***@h/d", "events", r"had a password, which run folders do not keep; .*\$NAME"),
    ],
)  # fmt: skip
def test_what_goes_wrong_names_the_database_but_not_the_password(tmp_path, lite, url, events, complaint):
    with pytest.raises(DataError, match=complaint) as found:
        Sql(url.format(folder=tmp_path, lite=lite), events).identity()
    text = "".join(traceback.format_exception(found.value))
    assert "secret" not in text
    assert len(str(found.value).splitlines()) == 1
    assert not (tmp_path / "none.db").exists()


def test_without_sqlalchemy_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(DataError, match=r"data=sql needs SQLAlchemy: pip install 'recsys-onnx\[sql\]'"):
        Sql("sqlite://", "events").identity()


@pytest.mark.parametrize(
    "url, kept",
    [
        ("postgresql://me:se%40cret@h/d", "postgresql://me:***@h/d"),
        ("postgresql://me:se@cret@h:5432/d", "postgresql://me:***@h:5432/d"),
        ("postgresql://me:$PASSWORD@h/d", "postgresql://me:$PASSWORD@h/d"),
        ("postgresql://h/d?password=secret&user=me", "postgresql://h/d?password=***&user=me"),
        ("postgresql://h/d?password=$PASSWORD", "postgresql://h/d?password=$PASSWORD"),
        ("sqlite:////shop.db", "sqlite:////shop.db"),
    ],
)
def test_a_run_folder_keeps_no_password(tmp_path, monkeypatch, url, kept):
    words = ("data=sql", f"data.source.url='{url}'", "data.source.events=orders")
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    run = Run.create(tmp_path / "run", composed(*words))
    assert run.config.data.source.url == kept
    assert not any("cret" in path.read_text() for path in run.folder.iterdir())


def test_the_source_shows_no_password():
    assert "sesame" not in repr(Sql("postgresql://ali:sesame@h/d", "events"))


@pytest.mark.parametrize("events", ["Events", "public.Events", 'SELECT * FROM "Events"'])
def test_postgres_gives_what_a_csv_gives(tmp_path, postgres, monkeypatch, events):
    monkeypatch.setattr(sql, "ROWS_PER_CHUNK", 50)
    monkeypatch.setenv("SHOP_PASSWORD", "sesame")
    columns = Columns(basket="basket")
    found = prepared(tmp_path / "sql", Sql(postgres.replace("sesame", "$SHOP_PASSWORD"), events), columns=columns)
    expected = prepared(tmp_path / "csv", written(tmp_path), columns=columns)
    assert found.metadata["arrays"] == expected.metadata["arrays"]
    assert "sesame" not in (found.folder / "metadata.json").read_text()


def test_postgres_is_read_through_a_cursor_of_the_server(tmp_path, postgres, monkeypatch):
    monkeypatch.setattr(sql, "ROWS_PER_CHUNK", 1000)
    query = (
        "SELECT n AS user, (SELECT count(*) FROM pg_cursors) AS item, n AS timestamp FROM generate_series(1, 10000) n"
    )
    source = Sql(postgres, query)
    assert rows(source, tmp_path) == [(str(n), "1", str(n)) for n in range(1, 10_001)]
    assert pq.ParquetFile(source._read["events"]).num_row_groups == 10


def test_postgres_types_times_and_signs(tmp_path, postgres):
    query = """SELECT 'ü:b 50%' AS user, 2::numeric / 3 AS item, timestamptz '2024-07-01 12:00+05:30' AS timestamp
               WHERE '10:30' LIKE '1%'"""
    source = Sql(postgres, query)
    assert rows(source, tmp_path, "user", "item") == [("ü:b 50%", "0.66666666666666666667")]
    with open_engine(tmp_path / "more") as engine:
        frame = engine.to_microseconds(source.read(engine).events, "timestamp", Clock(zone="Asia/Tokyo"))
        moment = frame.select("timestamp").collect("pyarrow").item()
    assert moment == pd.Timestamp("2024-07-01T06:30Z").value // 1000
    with pytest.raises(DataError, match="column 'tags' holds a list, not one value; leave it out with a SELECT"):
        Sql(postgres, "SELECT 1 AS user, ARRAY[1, 2] AS tags").identity()


def test_postgres_with_a_wrong_password(postgres):
    url = postgres.replace("sesame", "opensaysme")
    with pytest.raises(DataError, match="password authentication failed") as found:
        Sql(url, "Events").identity()
    assert "opensaysme" not in "".join(traceback.format_exception(found.value))


def test_the_command_reads_postgres_and_keeps_no_password(tmp_path, postgres, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "sesame")
    monkeypatch.chdir(tmp_path)
    words = ["model=popularity", "baselines=none", "logger=none", "data.folder=data", "data.exclude_seen=false"]
    words += ["data=sql", "data.source.events=Events", "hydra.run.dir=run"]
    text, code = said([f'data.source.url="{postgres}"', *words])
    assert code == 1 and "password, which run folders do not keep; write" in text and "sesame" not in text
    text, code = said([f'data.source.url="{postgres.replace("sesame", "$SHOP_PASSWORD")}"', *words])
    assert code == 0 and f"{len(FRAME):,} read" in text and "sesame" not in text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8 and not any(b"sesame" in path.read_bytes() for path in files)
    assert said(["resume=run"])[1] == 0
