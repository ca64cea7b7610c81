"""The data layer on Spark writes the bytes that it writes on DuckDB."""

import shutil

import numpy as np
import pandas as pd
import pytest

from recsys.data.features import Features
from recsys.data.preparation.filters import Filters
from recsys.data.preparation.splits import GlobalTime
from recsys.data.schema import Clock, Columns
from recsys.data.sources.files import Csv, FrameSource, Parquet
from recsys.errors import DataError
from tests.planted import planted_baskets, planted_items, planted_log, planted_users, prepared


@pytest.fixture(scope="module")
def session():
    """One session for all, with all of Spark's warnings let through."""
    pytest.importorskip("pyspark", reason="needs pyspark: pip install 'recsys-onnx[spark]'")
    if shutil.which("java") is None:
        pytest.skip("needs Java 17 or later")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyspark.sql import SparkSession

        settings = {
            "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "3",
            "spark.sql.session.timeZone": "Asia/Tokyo",
            "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
        }  # fmt: skip
        found = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
        yield found
        found.stop()


def same(folder, source, *args, handed=None, **kwargs):
    here = prepared(folder / "here", source, *args, **kwargs)
    there = prepared(folder / "there", handed or source, *args, spark="local[2]", **kwargs)
    assert there.metadata["arrays"] == here.metadata["arrays"]
    assert there.metadata["counts"] == here.metadata["counts"]
    for name in ("users", "items", "quarantine"):
        frames = [pd.read_parquet(each.folder / f"{name}.parquet") for each in (here, there)]
        frames = [frame.sort_values([*frame.columns[-2:]], ignore_index=True) for frame in frames]
        pd.testing.assert_frame_equal(*frames, check_dtype=False, check_like=True)
    return there


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_parquet_keeps_the_order_of_its_rows(session, tmp_path):
    log = planted_log()
    log["timestamp"] -= log["timestamp"] % (5 * 86_400)  # many at one time: the row decides
    log.loc[[3, 77], "item"] = [None, "  "]
    for name, part in zip(("c", "a", "b"), np.array_split(np.arange(len(log)), [100, 130]), strict=True):
        (tmp_path / "log").mkdir(exist_ok=True)
        log.iloc[part].to_parquet(tmp_path / f"log/{name} 1.parquet")
    found = same(tmp_path, Parquet(str(tmp_path / "log")), filters=Filters(user_core=5, item_core=3))
    assert found.metadata["counts"]["missing_item"] == 2
    assert session.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_spark_frame_with_baskets_and_features_beside_it(session, tmp_path):
    settings = {
        "columns": Columns(basket="basket"), "exclude_seen": False,
        "features": Features(user=["age"], item=["aisle"], context=["hour"]),
    }  # fmt: skip
    log = planted_baskets().groupby(["user", "timestamp"], as_index=False).first()  # rows of a frame have no order
    beside = planted_items(), planted_users()
    frame = session.createDataFrame(log).repartition(5)
    same(tmp_path, FrameSource(log, *beside), GlobalTime(), handed=FrameSource(frame, *beside), **settings)
    assert FrameSource(frame).identity() == FrameSource(frame.repartition(2)).identity()
    assert FrameSource(frame).identity() != FrameSource(session.createDataFrame(log[1:])).identity()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("written", ["text", "milliseconds", "dates"])
def test_times_are_read_alike(session, tmp_path, written):
    log = planted_log(n_users=12)
    moment = pd.to_datetime(log["timestamp"], unit="s")
    if written == "text":
        log["timestamp"] = moment.dt.strftime("%Y-%m-%d %H:%M:%S").where(log.index != 5, "never")
    else:
        log["timestamp"] = log["timestamp"] * 1000 if written == "milliseconds" else moment.dt.strftime("%Y%m%d")
    log.to_csv(tmp_path / "log.csv", index=False)
    same(tmp_path, Csv(str(tmp_path / "log.csv")), clock=Clock(zone="Europe/Berlin"))


def test_a_spark_frame_without_spark_is_refused_in_one_line(tmp_path, monkeypatch):
    class DataFrame:
        pass

    with pytest.raises(DataError, match="cannot be read as a table"):
        prepared(tmp_path, FrameSource(DataFrame()))


def test_without_pyspark_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyspark.errors", None)
    with pytest.raises(DataError, match=r"pip install 'recsys-onnx\[spark\]'"):
        prepared(tmp_path, planted_log(), spark="local[2]")
