"""Columns become the same codes whatever the source, and row 0 is unknown."""

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.features import Encoder, Features, align_rows, derive_time_feature, fit_encoder
from recsys.data.preparation.splits import GlobalTime
from recsys.data.schema import Clock, Columns
from recsys.data.sources.files import Csv, FrameSource
from recsys.errors import DataError
from tests.planted import START, planted_baskets, planted_items, planted_log, planted_users, prepared

CELLS = st.lists(st.one_of(st.none(), st.lists(st.sampled_from("abcd"), max_size=4).map("|".join)), min_size=1)


@given(CELLS, CELLS)
def test_categories_against_a_plain_reference(known, asked):
    encoder = fit_encoder(pd.Series(known, dtype=object), "|")
    counts = {value: sum(value in cell.split("|") for cell in known if cell) for value in "abcd"}
    order = [value for value in sorted("abcd", key=lambda v: (-counts[v], v)) if counts[value]]
    assert encoder.values == tuple(order)
    assert encoder.size == len(order) + 1
    assert encoder.width == max((len(cell.split("|")) for cell in known if cell is not None), default=1)
    found = encoder.encode(pd.Series(asked, dtype=object), "|")
    for row, cell in zip(found, asked, strict=True):
        codes = [order.index(v) + 1 if v in order else 0 for v in (cell or "").split("|")][: encoder.width]
        assert row.tolist() == codes + [0] * (encoder.width - len(codes))


@pytest.mark.parametrize("cells", [["a|b", None, "b"], [["a", "b"], None, ("b",)], [np.array(["a", "b"]), None, ["b"]]])
def test_several_values_as_text_or_lists(cells):
    column = pd.Series(cells, dtype=object)
    encoder = fit_encoder(column, "|")
    assert encoder.values == ("b", "a")
    assert encoder.encode(column, "|").tolist() == [[2, 1], [0, 0], [1, 0]]


def test_numbers_are_standardised_and_unknown_is_the_mean():
    column = pd.Series([1.0, 3.0, np.nan, np.inf, -np.inf])
    encoder = fit_encoder(column, "|")
    assert (encoder.kind, encoder.mean, encoder.size) == ("number", 2.0, 1)
    found = encoder.encode(column, "|")
    assert found.dtype == np.float32 and found.shape == (5, 1)
    assert found[2:].tolist() == [[0], [0], [0]]
    assert np.allclose(found[:2], [[-0.70710678], [0.70710678]])


def test_decimals_are_numbers_too():
    column = pd.Series([Decimal("1.50"), None, Decimal("2.50")], dtype=object)
    assert fit_encoder(column, "|").mean == 2.0
    assert np.allclose(fit_encoder(column, "|").encode(column, "|")[:, 0], [-0.70710678, 0, 0.70710678])


@pytest.mark.parametrize("column", [[5.0], [5.0, 5.0], [np.nan], [None], [np.inf]])
def test_columns_that_tell_nothing_give_finite_numbers(column):
    series = pd.Series(column, dtype=float)
    assert (fit_encoder(series, "|").encode(series, "|") == 0).all()
    assert fit_encoder(pd.Series(column, dtype=object), "|").size >= 1


def test_hour_weekday_and_month_are_local_and_start_at_one():
    moment = int(dt.datetime(2023, 12, 31, 23, 30, tzinfo=dt.UTC).timestamp())  # a Sunday; in Berlin already Monday
    seconds = np.array([moment])
    assert [int(derive_time_feature(name, seconds, "UTC")[0]) for name in ("hour", "weekday", "month")] == [24, 7, 12]
    assert [int(derive_time_feature(name, seconds, "Europe/Berlin")[0]) for name in ("hour", "weekday", "month")] == [
        1,
        1,
        1,
    ]


def test_an_empty_separator_is_refused():
    with pytest.raises(DataError, match=r"features.separator is empty"):
        Features(separator="")


def test_side_tables_are_aligned_and_unknown_rows_are_null():
    table = pd.DataFrame({"colour": ["red", "blue"]}, index=["7", "9"])
    assert align_rows(table, [9, 8, 7], "item")["colour"].fillna("-").tolist() == ["blue", "-", "red"]
    with pytest.raises(DataError, match=r"no item of the events .* ids there look like \['7', '9'\], in the .*\['x'\]"):
        align_rows(table, ["x"], "item")


def test_the_prepared_shop(shop):
    users = pd.read_parquet(shop.folder / "users.parquet")["user"]
    age, aisle = shop.features("user")["age"], shop.features("item")["aisle"]
    assert age.shape == (shop.n_users + 1, 1) and age.dtype == np.float32
    number = shop.encoders["user"]["age"]
    assert np.allclose(age[1:, 0] * number.deviation + number.mean, [20 + int(user[1:]) for user in users])
    assert age[0] == 0 and aisle[0] == 0
    values = shop.encoders["item"]["aisle"].values
    assert [values[code - 1] for code in aisle[1:, 0]] == [
        f"a{int(item[1:]) % 5}" for item in shop.raw_items().to_pylist()
    ]
    assert (shop.features("context")["hour"][:, 0] == shop.timestamps // 3600 % 24 + 1).all()
    request = shop.request_features(np.array([START]))
    assert request["hour"].tolist() == [[START // 3600 % 24 + 1]]


FEATURES = Features(user=["age"], item=["aisle"], context=["channel", "hour"])


def arrays(dataset):
    return dataset.metadata["arrays"]


def with_features(folder, items, users, events=None, **settings):
    events = planted_baskets() if events is None else events
    events = events.assign(channel=np.where(events["basket"] % 3 == 0, "web", "store"))
    return prepared(
        folder,
        FrameSource(events, items, users),
        GlobalTime(),
        **{"columns": Columns(basket="basket"), "features": FEATURES, **settings},
    )


def test_row_order_unknown_rows_and_repeats_of_side_tables_change_nothing(tmp_path):
    items, users = planted_items(), planted_users()
    found = arrays(with_features(tmp_path, items, users))
    strange = pd.DataFrame({"item": ["nobody's", None], "aisle": ["new", "void"]})
    more = pd.concat([items.iloc[::-1], strange, items.assign(aisle="late")])
    assert arrays(with_features(tmp_path, more, users.sample(frac=1, random_state=0))) == found


def test_whole_numbers_stay_categories_when_some_are_missing(tmp_path):
    users = planted_users().assign(age=range(20, 60)).iloc[5:]
    for table in (users, users.astype({"age": "Int64"}), users.astype({"age": str})):
        found = with_features(tmp_path, planted_items(), table)
        encoder = found.encoders["user"]["age"]
        assert encoder.kind == "category" and set(encoder.values) == {str(age) for age in range(25, 60)}
        assert found.features("user")["age"][:6].tolist() == [[0]] * 6


def test_whole_number_context_with_missing_values_is_a_category(tmp_path):
    frame = planted_log().assign(place=pd.array([1, None, 2] * 1000, dtype="Int64")[: len(planted_log())])
    found = prepared(tmp_path, frame, features=Features(context=["place"]))
    assert set(found.encoders["context"]["place"].values) == {"1", "2"}
    assert set(np.unique(found.features("context")["place"])) == {0, 1, 2}


def test_context_is_learned_from_training_alone(tmp_path):
    frame = planted_log()
    last = frame.groupby("user")["timestamp"].transform("max") == frame["timestamp"]
    found = prepared(tmp_path, frame.assign(place=np.where(last, "end", "way")), features=Features(context=["place"]))
    assert found.encoders["context"]["place"].values == ("way",)
    codes = found.features("context")["place"][:, 0]
    assert (codes[found.offsets[1:] - 1] == 0).all() and codes.sum() == len(codes) - found.n_users


@pytest.mark.parametrize("ids", [[1, 2, 3], [1.0, 2.0, 3.0], ["1", " 2 ", "3"], pd.array([1, 2, 3], dtype="Int64")])
def test_ids_of_a_side_table_are_read_like_those_of_events(tmp_path, ids):
    events = pd.DataFrame({"user": [1, 2, 3] * 4, "item": list("abcd") * 3, "timestamp": START + np.arange(12)})
    users = pd.DataFrame({"user": ids, "group": ["x", "y", "x"]})
    found = prepared(tmp_path, FrameSource(events, users=users), features=Features(user=["group"]))
    assert found.features("user")["group"].tolist() == [[0], [1], [2], [1]]


def test_a_csv_side_table_beside_a_csv_log(tmp_path):
    planted_baskets().to_csv(tmp_path / "log.csv", index=False)
    planted_items().to_csv(tmp_path / "items.csv", index=False)
    source = Csv(str(tmp_path / "log.csv"), items=str(tmp_path / "items.csv"))
    found = prepared(tmp_path, source, features=Features(item=["aisle"]))
    other = prepared(tmp_path, FrameSource(planted_baskets(), planted_items()), features=Features(item=["aisle"]))
    assert arrays(found) == arrays(other)


def test_the_id_itself_may_be_a_feature(tmp_path):
    found = prepared(tmp_path, FrameSource(planted_log(), planted_items()), features=Features(item=["item", "aisle"]))
    assert set(found.encoders["item"]["item"].values) == {f"i{i:02}" for i in range(25)}


@pytest.mark.parametrize(
    "items, features, complaint",
    [
        (
            None,
            Features(item=["aisle"]),
            "names item.aisle but there is no item table: name it under data.source.items",
        ),
        (planted_items(), Features(item=["shelf"]), "'shelf' is missing from the item table; there are: item, aisle"),
        (planted_items().rename(columns={"item": "sku"}), Features(item=["aisle"]), "'item' is missing from the item"),
        (planted_items().assign(item="x"), Features(item=["aisle"]), "no item of the events is in the item table"),
        (None, Features(context=["weather"]), "'weather' is missing from the events"),
    ],
)
def test_what_features_lack_is_named(tmp_path, items, features, complaint):
    with pytest.raises(DataError, match=complaint):
        prepared(tmp_path, FrameSource(planted_log(), items), features=features)


def test_hours_need_times(tmp_path):
    with pytest.raises(
        DataError, match=r"features.context=hour needs times; name the column under data.columns.timestamp"
    ):
        prepared(tmp_path, planted_log(), columns=Columns(timestamp=None), features=Features(context=["hour"]))


def test_metadata_round_trips_encoders(shop):
    written = json.loads((shop.folder / "metadata.json").read_text())["features"]["item"]["aisle"]
    assert Encoder(**{**written, "values": tuple(written["values"])}) == shop.encoders["item"]["aisle"]


def test_hours_follow_the_clock(tmp_path):
    features = Features(context=["hour"])
    utc = prepared(tmp_path, planted_log(), features=features)
    india = prepared(tmp_path, planted_log(), features=features, clock=Clock(zone="Asia/Tokyo"))
    assert (india.timestamps == utc.timestamps).all()
    hours = [found.features("context")["hour"] - 1 for found in (utc, india)]
    assert (hours[1] == (hours[0] + 9) % 24).all()
