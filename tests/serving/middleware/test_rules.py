"""A shop's rules: filtered items never appear, caps hold, neutral settings change nothing."""

import asyncio
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from recsys.config.build import build
from recsys.errors import ConfigError
from recsys.serving.app import create_app
from recsys.serving.item_table import ItemTable
from recsys.serving.middleware.rule_middleware import RuleMiddleware
from recsys.serving.middleware.rules import (
    Between,
    Boost,
    Candidates,
    Cap,
    Diversify,
    Explore,
    Matches,
    NotBought,
    RuleContext,
)
from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender
from recsys.serving.schemas import RecommendResponse, ServerLimits
from tests.composed import composed

N = 60
NOW = 1_700_000_000
ITEMS = [f"i{n:02}" for n in range(N)]


def shop_table(seed=0):
    """A table of all items of the planted shop except the last five, with some empty cells."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "item": ITEMS,
            "stock": rng.integers(0, 4, N),
            "region": rng.choice(["north", "south", "north|south", None], N),
            "min_age": rng.choice([0, 0, 18], N),
            "consumable": rng.integers(0, 2, N),
            "margin": rng.normal(size=N),
            "added": pd.to_datetime(rng.integers(1_600_000_000, NOW, N), unit="s"),
            "promoted": rng.choice([0, 1, None], N).astype(float),
            "brand": rng.choice(["a", "b", "c", "d", None], N),
            "category": rng.choice(["x", "y"], N),
        }
    )
    return table.iloc[: N - 5]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("items") / "items.parquet"
    shop_table().to_parquet(found)
    return found


@pytest.fixture(scope="module")
def table(path):
    return ItemTable(path)


def occasion(table, k=10, history=(), seed=0, **facts):
    return RuleContext(table, k, history, NOW, np.random.default_rng(seed), facts)


def candidates(table, scores, items=ITEMS):
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    rows = table.rows([items[place] for place in order])
    return Candidates(rows, np.asarray(scores, float)[order], np.arange(len(order)), np.ones(len(order)))


SCORES = st.lists(st.floats(-9, 9), min_size=1, max_size=N).map(lambda scores: [round(score, 3) for score in scores])


@given(SCORES, st.integers(-1, 5))
def test_nothing_out_of_bounds_remains_and_the_order_is_kept(table, scores, least):
    found = Between("stock", least=least)(candidates(table, scores), occasion(table))
    stock = shop_table().stock.to_numpy()
    known = found.rows[found.rows < N - 5]
    assert len(known) == len(found.rows)  # what the table lacks has no stock
    assert (stock[known] >= least).all()
    assert (np.diff(found.order) > 0).all()
    assert len(known) == (stock[: min(len(scores), N - 5)] >= least).sum()


@pytest.mark.parametrize(("facts", "grown"), [({}, False), ({"age": 17}, False), ({"age": 18}, True)])
def test_an_age_is_asked_for_and_unknown_ones_are_children(table, facts, grown):
    rule = Between("min_age", most=0, most_asked="age")
    found = rule(candidates(table, np.zeros(N)), occasion(table, **facts))
    assert (shop_table().min_age.to_numpy()[found.rows] == 18).any() == grown


def test_a_region_matches_one_of_several_and_no_region_suits_all(table):
    found = Matches("region", "region")(candidates(table, np.zeros(N)), occasion(table, region="north"))
    regions = shop_table().region[found.rows[found.rows < N - 5]]
    assert set(regions.dropna()) == {"north", "north|south"}
    assert regions.isna().any()
    assert len(Matches("region", "region")(candidates(table, np.zeros(N)), occasion(table)).rows) == N


def test_what_was_bought_comes_again_only_if_it_is_consumed(table):
    found = NotBought("consumable")(candidates(table, np.zeros(N)), occasion(table, history=ITEMS[:20]))
    consumable = shop_table().consumable.to_numpy()
    assert set(found.rows[found.rows < 20]) == set(np.flatnonzero(consumable[:20]))
    assert set(range(20, N - 5)) <= set(found.rows)


@given(SCORES, st.integers(1, 5))
def test_caps_hold_and_keep_the_best(table, scores, most):
    given_ = candidates(table, scores)
    found = Cap("brand", most)(given_, occasion(table))
    codes = table.codes("brand")
    counts = Counter(codes[found.rows][codes[found.rows] >= 0].tolist())
    assert max(counts.values(), default=0) <= most
    for code, count in counts.items():
        all_of_it = given_.order[codes[given_.rows] == code]
        assert found.order[codes[found.rows] == code].tolist() == all_of_it[:count].tolist()
        assert count == min(most, len(all_of_it))
    assert (np.diff(found.order) > 0).all()


@given(SCORES, st.integers(1, 12))
def test_rules_that_ask_for_nothing_change_nothing(table, scores, k):
    given_ = candidates(table, scores)
    for rule in (Boost("margin", 0.0), Boost("added", 0.0, 30.0), Diversify(["category", "brand"], 1.0)):
        found = rule(given_, occasion(table, k))
        assert found.order.tolist() == given_.order.tolist()
        assert found.scores.tolist() == given_.scores.tolist()
    assert Explore(3, 0.0)(given_, occasion(table, k)).order.tolist() == given_.order[:k].tolist()


@given(SCORES, st.floats(0, 0.99), st.integers(1, 12))
def test_variety_moves_items_and_loses_none(table, scores, relevance, k):
    given_ = candidates(table, scores)
    found = Diversify(["category", "brand"], relevance)(given_, occasion(table, k))
    assert sorted(found.order) == list(range(len(scores)))
    assert found.order[0] == 0
    assert (np.diff(found.order[k:]) > 0).all()


def test_variety_prefers_what_is_not_there_yet(tmp_path):
    pd.DataFrame({"item": ["a", "b", "c"], "brand": ["x", "x", "y"]}).to_csv(tmp_path / "items.csv", index=False)
    table = ItemTable(tmp_path / "items.csv")
    found = Diversify(["brand"], 0.5)(candidates(table, [3.0, 2.0, 1.5], ["a", "b", "c"]), occasion(table, 3))
    assert found.order.tolist() == [0, 2, 1]


def test_boosts_raise_by_the_column_and_fade_with_age(tmp_path):
    added = pd.to_datetime([NOW - 86_400 * 60, NOW - 86_400 * 30, NOW], unit="s")
    pd.DataFrame({"item": list("abc"), "margin": [0.0, 1.0, None], "added": added}).to_parquet(tmp_path / "i.parquet")
    table = ItemTable(tmp_path / "i.parquet")
    equal = candidates(table, np.zeros(3), "abc")
    assert Boost("margin", 2.0)(equal, occasion(table)).scores.tolist() == [2, 0, 0]
    found = Boost("added", 1.0, 30.0)(equal, occasion(table))
    assert found.order.tolist() == [2, 1, 0]
    np.testing.assert_allclose(found.scores, [1, 0.5, 0.25])


def test_chances_are_those_with_which_items_appear(table):
    shown, said, trials = Counter(), {}, 20_000
    given_ = candidates(table, np.arange(8)[::-1])
    draws = occasion(table, 4)
    for _ in range(trials):
        found = Explore(2, 0.4)(given_, draws)
        assert len(set(found.order)) == 4
        assert found.order[:2].tolist() == [0, 1]
        key = tuple(found.order)
        shown[key] += 1
        said[key] = found.propensities.prod()
    assert sum(said.values()) == pytest.approx(1)  # all lists that can be
    for key, chance in said.items():
        assert abs(shown[key] / trials - chance) < 5 * (chance * (1 - chance) / trials) ** 0.5, key


def client_of(artefact, path, **settings):
    words = [f"parts.rules.{name}={value}" for name, value in settings.items()]
    config = composed("artefact=x", "rules=shop", f"parts.rules.items={path}", *words, name="serve")
    parts = [build(OmegaConf.create(part)) for part in OmegaConf.to_container(config.parts).values()]
    return TestClient(create_app(ModelFile(artefact, 1), ServerLimits(), middleware=parts))


QUESTION = {"history": ["i03", "i08", "i03"], "facts": {"region": "south", "age": 30}, "context": {"timestamp": NOW}}


@pytest.mark.parametrize("pool", [1, 10, 100])
def test_the_list_is_that_of_filters_before_the_ranking(artefact, path, pool):
    rows = shop_table()
    fits = (rows.stock >= 1) & ((rows.consumable == 1) | ~rows["item"].isin(QUESTION["history"]))
    fits &= rows.region.isna() | rows.region.astype(str).str.contains("south")
    client = client_of(artefact("sasrec"), path, pool=pool, **{"rules.brands.most": 99})
    answer = client.post("/recommend", json=QUESTION).json()
    file = Recommender(artefact("sasrec"))
    wanted = file.recommend(
        QUESTION["history"], allow=rows["item"][fits].tolist(), exclude_seen=False, context=QUESTION["context"]
    )
    assert answer["items"] == wanted.items
    assert answer["scores"] == pytest.approx(wanted.scores, rel=1e-5)
    assert answer["about"]["rules"][:3] == ["in_stock", "region", "age"]
    assert answer["about"]["propensities"] == dict.fromkeys(answer["items"], 1.0)


def test_what_rules_cannot_read_is_the_request_s_fault(artefact, path):
    answer = client_of(artefact("sasrec"), path).post("/recommend", json={"facts": {"age": "old"}})
    assert answer.status_code == 422
    assert "rule age cannot read the request's facts" in answer.json()["detail"]


def arranging(path, **rules):
    return RuleMiddleware(str(path), "item", 10, rules, 0)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"cheap": Between("price", most=9)}, "has no column 'price'; it has: item, stock"),
        ({"cheap": Between("brand", most=9)}, "column 'brand' .* is not numeric"),
        ({"trial": Explore(2, 1.5)}, "rule trial: share=1.5 is invalid: expected a number between 0 and 1"),
    ],
)
def test_rules_that_the_table_cannot_serve_are_refused_at_the_start(path, rules, reason):
    with pytest.raises(ConfigError, match=reason):
        arranging(path, **rules)


def test_a_new_table_takes_over_and_a_broken_one_does_not(tmp_path, caplog):
    path = tmp_path / "items.csv"
    path.write_text("item,stock\n01,1\nb,0\n")
    part = arranging(path, in_stock=Between("stock", least=1))
    answer = RecommendResponse(items=["01", "b"], scores=[2.0, 1.0], known=0, unknown=[])

    def stocked():
        asyncio.run(part.table.refresh())
        return part.arrange(answer, 2, [], {}).items

    assert stocked() == ["01"]
    (tmp_path / "new").write_text("item,stock\n01,0\nb,1\n")
    (tmp_path / "new").replace(path)
    assert stocked() == ["b"]
    path.write_text("item,stock\na,1\na,1\n")
    assert stocked() == ["b"]
    assert stocked() == ["b"]
    assert caplog.text.count("items not read again") == 1
    assert len(part.table.texts("item")) == 3
    path.unlink()
    assert stocked() == ["b"]
    with pytest.raises(ConfigError, match="there is no file"):
        arranging(path)
