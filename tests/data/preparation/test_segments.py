"""Rankings by segment: how columns are cut, what is counted in each segment, and that models see none of it."""

import json
from math import log2

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recsys.data.batches.batch import ColumnReader
from recsys.data.features import Features
from recsys.data.preparation.segments import encode_segments
from recsys.data.preparation.splits import GlobalTime
from recsys.data.schema import Columns
from recsys.data.sources.files import FrameSource
from recsys.errors import DataError
from recsys.evaluation.compare import compare_with_baselines
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.metrics.segments import SegmentedRanking, segment_membership
from recsys.evaluation.scoring import make_ranking_batches
from recsys.models.base import DataSpec
from recsys.models.baselines.popularity import Popularity
from tests.composed import composed
from tests.planted import planted_baskets, planted_items, planted_users, prepared

SEGMENTS = ("user.group", "user.age", "item.aisle", "item.tags")


@pytest.fixture(scope="module")
def segmented_shop(tmp_path_factory):
    return shop_by(tmp_path_factory.mktemp("segments"), SEGMENTS)


def shop_by(folder, segments, **features):
    users, items = planted_users(), planted_items()
    users["group"] = [None if u % 4 == 3 else f"g{u % 4}" for u in range(len(users))]
    items["tags"] = [["hot|new", "hot", None][i % 3] for i in range(len(items))]
    source = FrameSource(planted_baskets(), items, users)
    features = Features(segments=segments, **features)
    settings = {"columns": Columns(basket="basket"), "features": features, "exclude_seen": False}
    return prepared(folder, source, GlobalTime(), **settings)


def rank_first(dataset, wanted, part="test", ks=(5, 30)):
    """The ranking where targets score above 1 if `wanted(users, items)`, else −inf, and all other items 0."""

    def scorer(asked):
        scores = torch.zeros(len(asked.history), dataset.n_items + 1)
        users = asked.users[asked.target_query].numpy()
        known = (asked.targets <= dataset.n_items).numpy()
        value = torch.where(torch.from_numpy(wanted(users, asked.targets.numpy())), 1 + asked.targets, -torch.inf)
        scores[asked.target_query[known], asked.targets[known]] = value[known]
        scores[:, 0] = -torch.inf
        return scores

    return evaluate_scorer(scorer, dataset, make_ranking_batches(dataset, part, None, budget=500), ks)


def raw(dataset, kind):
    return pd.read_parquet(dataset.folder / f"{kind}s.parquet")[kind]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_segment_of_users_ranked_first_and_the_others_never(segmented_shop, part):
    number = raw(segmented_shop, "user").str[1:].astype(int).to_numpy()
    found = rank_first(segmented_shop, lambda users, items: number[users] % 4 == 1, part)
    groups = found.segments["user.group"]
    assert list(groups)[-1] == "unknown" and set(groups) == {"g0", "g1", "g2", "unknown"}
    assert {name: values["hr@5"] for name, values in groups.items()} == {"g0": 0, "g1": 1, "g2": 0, "unknown": 0}
    assert groups["g1"]["recall@30"] == 1
    assert sum(values["n_users"] for values in groups.values()) == found.n_users
    assert sum(values["n_targets"] for values in groups.values()) == found.n_targets


def test_a_segment_of_items_ranked_first_and_the_others_never(segmented_shop):
    number = raw(segmented_shop, "item").str[1:].astype(int).to_numpy()
    found = rank_first(segmented_shop, lambda users, items: number[items - 1] % 5 == 2)
    aisles = found.segments["item.aisle"]
    assert set(aisles) == {"a0", "a1", "a2", "a3", "a4"} and found.n_cold_targets == 0
    assert {name: values["recall@30"] for name, values in aisles.items()} == {f"a{n}": float(n == 2) for n in range(5)}
    assert sum(values["n_targets"] for values in aisles.values()) == found.n_targets
    assert all(0 < values["n_users"] < found.n_users for values in aisles.values())
    assert sum(values["n_users"] for values in aisles.values()) > found.n_users


def test_means_over_segments_of_users_add_up_to_the_whole(segmented_shop):
    found = rank_first(segmented_shop, lambda users, items: (users + items) % 2 == 0)
    for column in ("user.group", "user.age"):
        values = found.segments[column].values()
        for metric in ("ndcg@5", "map@30", "precision@5"):
            assert found.metrics[metric] == pytest.approx(
                sum(v["n_users"] * v[metric] for v in values) / found.n_users, rel=1e-5
            )
    assert list(found.segments["user.age"]) == ["20-29.75", "29.75-39.5", "39.5-49.25", "49.25-59"]


def test_a_target_counts_in_each_of_its_values(segmented_shop):
    tags = rank_first(segmented_shop, lambda users, items: items > 0).segments["item.tags"]
    number = raw(segmented_shop, "item").str[1:].astype(int).to_numpy()
    kinds = [number[asked.targets - 1] % 3 for asked in make_ranking_batches(segmented_shop, "test", None)]
    plain, hot, none = np.bincount(np.concatenate(kinds))[[0, 1, 2]]
    assert {name: v["n_targets"] for name, v in tags.items()} == {"hot": plain + hot, "new": plain, "unknown": none}


def test_a_user_without_training_events_keeps_the_segment(tmp_path):
    events = pd.DataFrame(
        {"user": ["a", "b"] * 4 + ["late"] * 2, "item": list("xxyyxxyyxy"), "timestamp": [*range(8), 20, 21]}
    )
    users = pd.DataFrame({"user": ["a", "b", "late"], "group": ["old", "old", "new"]})
    features = Features(segments=["user.group"])
    found = prepared(
        tmp_path, FrameSource(events, users=users), GlobalTime(cut="1970-01-01T00:00:15"), features=features
    )
    ranked = rank_first(found, lambda users, items: items > 0, ks=(1,))
    assert {name: values["n_users"] for name, values in ranked.segments["user.group"].items()} == {"new": 1}


def test_models_and_other_arrays_know_nothing_of_segments(tmp_path, segmented_shop):
    facts = DataSpec.from_dataset(segmented_shop, 10)
    assert facts.user == facts.item == facts.context == {}
    assert set(ColumnReader(segmented_shop).user(np.arange(3))) == {"id"}
    assert all(set(asked.user) == {"id"} for asked in make_ranking_batches(segmented_shop, "test", None))
    arrays = segmented_shop.metadata["arrays"]
    plain = shop_by(tmp_path, ())
    assert plain.metadata["arrays"] == {name: h for name, h in arrays.items() if not name.startswith("segment_")}
    assert {name for name in arrays if name.startswith("segment_")} == {f"segment_{name}" for name in SEGMENTS}
    assert plain.segments() == {} and rank_first(plain, lambda users, items: items > 0).segments == {}


def test_a_column_may_be_feature_and_segment(tmp_path):
    found = shop_by(tmp_path, ["item.aisle", "item.aisle"], item=["aisle"])
    assert set(found.features("item")) == {"aisle"} and set(found.segments()) == {"item.aisle"}
    values, codes = found.segments()["item.aisle"]
    assert values == ["unknown", "a0", "a1", "a2", "a3", "a4", "other"]
    assert [values[code] for code in codes[1:, 0]] == [f"a{int(i[1:]) % 5}" for i in raw(found, "item")]


@pytest.mark.parametrize("name", ["age", "shop.age", "user.", ""])
def test_segments_name_their_table(name):
    with pytest.raises(DataError, match=r"features.segments names '.*'; write user.COLUMN or item.COLUMN"):
        Features(segments=[name])


def test_a_missing_table_or_column_is_named(tmp_path):
    for segments, complaint in (
        (["user.age"], "names user.age but there is no user table: name it under data.source.users"),
        (["item.shelf"], "'shelf' is missing from the item table"),
    ):
        with pytest.raises(DataError, match=complaint):
            source = FrameSource(planted_baskets(), planted_items())
            prepared(tmp_path, source, features=Features(segments=segments))


def test_numbers_are_cut_into_quartiles():
    values, codes = encode_segments(pd.Series([20, 26, 34.5, 40, 60, np.nan, np.inf]), "|")
    assert values == ("unknown", "20-26", "26-34.5", "34.5-40", "40-60")
    assert codes.dtype == np.int32 and codes[:, 0].tolist() == [1, 1, 2, 3, 4, 0, 0]


@pytest.mark.parametrize(
    ("column", "values", "codes"),
    [
        ([5.0, 5.0, np.nan], ("unknown", "5"), [1, 1, 0]),
        ([np.nan, np.nan], ("unknown",), [0, 0]),
        ([0.0, 0.0, 0.0, 0.0, 8.0], ("unknown", "0-8"), [1, 1, 1, 1, 1]),
        ([1.0, 1.0 + 1e-9], ("unknown", "1"), [1, 1]),
        ([1e9, 2e9], ("unknown", "1e+09-1.25e+09", "1.25e+09-1.5e+09", "1.5e+09-1.75e+09", "1.75e+09-2e+09"), [1, 4]),
    ],
)
def test_quartiles_that_coincide_are_one(column, values, codes):
    found = encode_segments(pd.Series(column), "|")
    assert (found[0], found[1][:, 0].tolist()) == (values, codes)


@given(st.lists(st.floats(width=32, allow_infinity=False), min_size=1))
def test_every_number_is_in_one_of_few_distinct_segments(column):
    values, codes = encode_segments(pd.Series(column, dtype=float), "|")
    assert len(set(values)) == len(values) <= 5 and codes.max() < len(values)
    assert ((codes[:, 0] == 0) == np.isnan(column)).all()


def test_the_twenty_most_frequent_values_and_the_rest():
    column = pd.Series(
        [f"v{n:02}" for n in range(25) for _ in range(30 - n)] + ["v00|v23|v24", "other", "unknown", None]
    )
    values, codes = encode_segments(column, "|")
    assert values == ("unknown", *(f"v{n:02}" for n in range(20)), "other")
    assert codes[-4:].tolist() == [[1, 21, 21], [21, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_membership_counts_each_value_once_and_unknown_only_alone():
    codes = torch.tensor([[1, 3, 3], [2, 0, 0], [0, 0, 0]])
    assert segment_membership(codes, 4).int().tolist() == [[0, 1, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]


RANK = st.integers(1, 12)
TARGETS = st.lists(st.lists(st.tuples(RANK, st.integers(0, 3)), min_size=1, max_size=5), min_size=1, max_size=5)


def reference(batches, segment, k):
    """N@k, hits, users and targets of a segment by plain loops; the row of a target is its segment's number."""
    users = [[rank for rank, row in user if row == segment] for user in batches]
    users = [ranks for ranks in users if ranks]
    gains = [sum(1 / log2(rank + 1) for rank in ranks if rank <= k) for ranks in users]
    ideal = [sum(1 / log2(place + 2) for place in range(min(len(ranks), k))) for ranks in users]
    return {
        f"ndcg@{k}": np.mean([g / i for g, i in zip(gains, ideal, strict=True)]) if users else None,
        f"hr@{k}": np.mean([min(ranks) <= k for ranks in users]) if users else None,
        "n_users": len(users),
        "n_targets": sum(map(len, users)),
    }


@given(st.lists(TARGETS, min_size=1, max_size=3), st.integers(1, 6))
def test_segments_equal_the_loops_in_any_batches(batches, k):
    metric = SegmentedRanking(["none", "a", "b", "c"], torch.arange(4)[:, None], [k])
    for users in batches:
        width = max(map(len, users))
        table = torch.tensor([user + [(0, 0)] * (width - len(user)) for user in users])
        metric.update(table[..., 0], table[..., 1])
    found = metric.compute()
    for segment, name in enumerate(["none", "a", "b", "c"]):
        expected = reference([user for users in batches for user in users], segment, k)
        assert (name in found) == (expected["n_users"] > 0)
        if name in found:
            assert {key: found[name][key] for key in expected} == pytest.approx(expected)


def test_codes_without_a_name_are_refused():
    with pytest.raises(ValueError, match="codes run from 0 to 2; 2 segments are named"):
        SegmentedRanking(["none", "a"], torch.tensor([[0], [2]]), [10])


def test_the_comparison_holds_and_prints_segments(segmented_shop):
    config = composed("model=popularity", "ks=[5,10]", "baselines=default")
    metrics, text = compare_with_baselines(
        Popularity(DataSpec.from_dataset(segmented_shop, 10)), segmented_shop, config
    )
    assert json.loads(json.dumps(metrics)) == metrics
    for ranked in (metrics, *metrics["baselines"].values()):
        assert all(set(ranked[part]["segments"]) == set(SEGMENTS) for part in ("validation", "test"))
        assert {"ndcg@10", "hr@10", "n_users", "n_targets"} <= set(ranked["test"]["segments"]["user.group"]["g1"])
    table = text.split("\n\n")[1:]
    assert [block.split()[0] for block in table] == list(SEGMENTS)
    assert "popularity ndcg@10" in table[0] and "personal_frequency hr@10" in table[0]
