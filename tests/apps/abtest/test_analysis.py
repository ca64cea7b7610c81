"""Assignment, intervals, analysis, plans and estimates on planted data, compared with independent computations."""

import logging
import subprocess
import sys
from itertools import pairwise
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recsys.apps.abtest import decision, exposure_log
from recsys.apps.abtest.analysis import MetricEffect, analyze_variants
from recsys.apps.abtest.assignment import assign_variant, hash_to_fraction, log_unit_id, resolve_shares
from recsys.apps.abtest.design import AbtestDesign
from recsys.apps.abtest.interleaving import estimate_preference, interleave_rankings
from recsys.apps.abtest.off_policy import estimate_doubly_robust, estimate_snips
from recsys.apps.abtest.planning import (
    AbtestPlan,
    PastMetric,
    advise_on_duration,
    compute_live_alpha,
    compute_smallest_effect,
    compute_units_needed,
)
from recsys.apps.abtest.sequential import compute_sequence_width, compute_sequential_p_value, compute_single_look_alpha
from recsys.config.build import build
from recsys.errors import ConfigError, DataError
from tests.composed import composed

HALVES = {"control": 0.5, "treatment": 0.5}
IDS = st.text(max_size=20)


def test_assignment_loads_the_standard_library_alone():
    modules = "recsys.apps.abtest.assignment, recsys.apps.abtest.exposure_log"
    code = f"import sys, {modules}; print(*{{'numpy', 'hydra', 'fastapi'}} & {{*sys.modules}})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_assignments_never_change():
    """A release that draws otherwise would mix up running tests."""
    assert [assign_variant("spring", f"c{n}", HALVES) for n in range(6)] == ["control"] * 4 + ["treatment"] * 2
    assert hash_to_fraction("spring", "c0") == 0.2140785052427081


def test_counts_and_pairs_of_tests_look_like_chance():
    units = [str(n) for n in range(4000)]
    drawn = np.array([[hash_to_fraction(f"test {t}", unit) < 0.5 for unit in units] for t in range(40)])
    ratio = [stats.binomtest(int(row.sum()), len(row)).pvalue for row in drawn]
    pairs = [stats.pearsonr(a, b).pvalue for a, b in pairwise(drawn.astype(float))]
    assert stats.kstest(ratio, "uniform").pvalue > 0.01
    assert stats.kstest(pairs, "uniform").pvalue > 0.01


@given(IDS, IDS, st.floats(0.01, 1), st.floats(0.01, 1))
def test_more_traffic_moves_nobody(name, unit, one, other):
    before, after = (
        assign_variant(name, unit, {"a": 0.2, "b": 0.3, "c": 0.5}, traffic) for traffic in sorted((one, other))
    )
    assert before in (None, after)


def test_shares_are_kept():
    given = pd.Series(
        [assign_variant("t", str(n), {"a": 0.1, "b": 0.6, "c": 0.3}, 0.5) for n in range(20_000)], dtype=object
    )
    found = given.fillna("out").value_counts(normalize=True)
    assert found.to_dict() == pytest.approx({"a": 0.05, "b": 0.3, "c": 0.15, "out": 0.5}, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((["a"],), "at least two different"),
        ((["a", "a"],), "at least two different"),
        ((["a", "b"], [0.5, 0.6]), "add up to 1"),
        ((["a", "b"], [1.0]), "one positive share for each"),
        ((["a", "b"], [1.5, -0.5]), "positive"),
        ((["a", "b"], None, 0.0), "traffic=0.0"),
    ],
)
def test_what_is_no_plan_is_refused(arguments, reason):
    with pytest.raises(ConfigError, match=reason):
        resolve_shares(*arguments)


def test_a_pseudonym_needs_its_key():
    assert log_unit_id("ada", None) == "ada"
    assert log_unit_id("ada", "k") == log_unit_id("ada", "k") != log_unit_id("ada", "l")
    assert "ada" not in log_unit_id("ada", "k")


@given(st.integers(10, 10**7), st.integers(10, 10**7), st.floats(0.001, 0.3))
def test_the_interval_ends_where_its_p_value_is_alpha(units, planned_units, alpha):
    assert compute_sequential_p_value(
        compute_sequence_width(units, planned_units, alpha), units, planned_units, alpha
    ) == pytest.approx(alpha)
    assert compute_single_look_alpha(units, planned_units, alpha) < alpha


def test_the_interval_is_narrowest_in_all_near_the_plan():
    sizes = np.arange(100, 40_000, 100)
    scaled = [compute_sequence_width(int(n), 10_000) for n in sizes]
    assert sizes[np.argmin(scaled)] == pytest.approx(10_000, rel=0.25)
    assert compute_sequence_width(10_000, 10_000) == pytest.approx(3.03, abs=0.01)


def test_ten_peeks_deceive_the_fixed_interval_and_not_the_sequence():
    rng = np.random.default_rng(0)
    values, treated = rng.exponential(size=(1000, 4000)), rng.random((1000, 4000)) < 0.5
    fixed, live = peeks(values, treated, 10)
    assert 0.14 < fixed < 0.25
    assert live <= 0.05


def peeks(values, treated, looks):
    """The fraction of rows that ever find a difference, with the fixed interval and with the sequence."""
    alarms = np.zeros((2, len(values)), bool)
    for n in np.linspace(0, values.shape[1], looks + 1).astype(int)[1:]:
        z = z_statistic(values[:, :n], treated[:, :n])
        alarms[0] |= np.abs(z) > 1.96
        alarms[1] |= np.abs(z) > compute_sequence_width(int(n), values.shape[1])
    return alarms.mean(axis=1)


def z_statistic(values, treated):
    means, errors = [], []
    for group in (treated, ~treated):
        count = group.sum(axis=1)
        mean = (values * group).sum(axis=1) / count
        errors.append(((values - mean[:, None]) ** 2 * group).sum(axis=1) / count / (count - 1))
        means.append(mean)
    return (means[0] - means[1]) / np.sqrt(errors[0] + errors[1])


def planted(n=4000, effect=0.0, seed=0, **more):
    """Units whose spend depends on their earlier spend; treatment multiplies it by 1 + `effect`."""
    rng = np.random.default_rng(seed)
    before, treated = rng.gamma(2, 10, n), np.arange(n) % 2 == 1
    spend = (before * 0.8 + rng.gamma(2, 5, n)) * np.where(treated, 1 + effect, 1)
    visits = rng.integers(1, 8, n)
    variant = np.where(treated, "treatment", "control")
    orders = rng.binomial(visits, np.where(treated, 0.3 * (1 + effect), 0.3))
    return pd.DataFrame(
        {"variant": variant, "spend": spend, "before": before, "orders": orders, "visits": visits, **more}
    )


def design(metrics, **more):
    return AbtestDesign("control", more.pop("shares", HALVES), metrics, **more)


def only(frame, metrics, **more):
    return analyze_variants(frame, design(metrics, **more)).effects[0]


def test_a_mean_is_welchs():
    frame = planted(effect=0.03)
    treated, control = (frame.spend[frame.variant == name] for name in ("treatment", "control"))
    found, test = only(frame, ["spend"]), stats.ttest_ind(treated, control, equal_var=False)
    interval = test.confidence_interval()
    assert (found.p_value, found.low, found.high) == pytest.approx((test.pvalue, interval.low, interval.high))
    assert found.treatment - found.control == pytest.approx(treated.mean() - control.mean())


def test_a_covariate_takes_variance_away():
    frame = planted(effect=0.03)
    found, plain = only(frame, ["spend"], covariates={"spend": "before"}), only(frame, ["spend"])
    theta = np.cov(frame.spend, frame.before)[0, 1] / frame.before.var()
    rest = frame.spend - theta * (frame.before - frame.before.mean())
    test = stats.ttest_ind(*(rest[frame.variant == name] for name in ("treatment", "control")), equal_var=False)
    assert found.p_value == pytest.approx(test.pvalue)
    assert found.variance_reduction == pytest.approx(np.corrcoef(frame.spend, frame.before)[0, 1] ** 2, abs=0.02)
    assert found.p_value < plain.p_value
    assert plain.variance_reduction == 0


def test_a_ratio_is_that_of_the_delta_method():
    frame = planted(effect=0.1)
    found = only(frame, ["orders/visits"])
    ratios, variances = [], []
    for name in ("control", "treatment"):
        own = frame[frame.variant == name]
        ratio = own.orders.sum() / own.visits.sum()
        ratios.append(ratio)
        variances.append((own.orders - ratio * own.visits).var() / own.visits.mean() ** 2 / len(own))
    z = (ratios[1] - ratios[0]) / np.sqrt(sum(variances))
    assert (found.control, found.treatment) == pytest.approx(tuple(ratios))
    assert found.p_value == pytest.approx(2 * stats.t.sf(z, len(frame) - 2), rel=0.001)


def test_unequal_counts_block_everything_else():
    frame = planted(10_000)
    moved = frame.index[frame.variant == "treatment"][:200]
    frame.loc[moved, "variant"] = "control"  # 52/48
    found = analyze_variants(frame, design(["spend"]))
    assert found.has_mismatch
    assert found.effects == []
    assert decision.describe_result(found, design(["spend"]))[-1].startswith("No decision")
    assert not analyze_variants(frame, design(["spend"], shares={"control": 0.52, "treatment": 0.48})).has_mismatch


def test_metrics_of_all_variants_are_adjusted_together():
    frame = planted(3000)
    frame["variant"] = np.resize(["control", "a", "b"], 3000)
    plan = design(
        ["spend", "orders/visits"], shares={"control": 1 / 3, "a": 1 / 3, "b": 1 / 3}, guardrails={"visits": -0.1}
    )
    effects = analyze_variants(frame, plan).effects
    tested = [effect for effect in effects if effect.metric != "visits"]
    adjusted = stats.false_discovery_control([effect.p_value for effect in tested])
    assert [effect.adjusted_p_value for effect in tested] == pytest.approx(adjusted)
    assert [effect.metric for effect in effects].count("visits") == 2
    assert len(decision.describe_result(analyze_variants(frame, plan), plan)) == 4


def test_live_looks_widen_the_interval_and_agree_with_their_p_value():
    frame = planted(effect=0.05)
    once, live = only(frame, ["spend"]), only(frame, ["spend"], live=4000)
    assert (live.high - live.low) / (once.high - once.low) == pytest.approx(
        compute_sequence_width(4000, 4000) / 1.96, rel=0.001
    )
    assert (live.low > 0) == (live.p_value < 0.05)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spend": np.nan}, "'spend' has 1 empty or infinite cells"),
        ({"spend": np.inf}, "'spend' has 1 empty or infinite cells"),
        ({"variant": "third"}, r"'variant' holds \['third'\]"),
    ],
)
def test_cells_that_no_analysis_can_use_are_named(change, reason):
    frame = planted()
    for column, value in change.items():
        frame.loc[3, column] = value
    with pytest.raises(DataError, match=reason):
        analyze_variants(frame, design(["spend"]))


@pytest.mark.parametrize(
    ("columns", "metric", "reason"),
    [
        ({"spend": "much"}, "spend", "'spend' holds 'much', which is not a number"),
        ({"spend": 0}, "spend", "'spend' is 0 for all units"),
        ({"spend": np.resize([-3.0, 1.0], 4000)}, "spend", "'spend' adds up to -4000.0"),
        ({"visits": 0}, "orders/visits", "'visits' adds up to 0; relative changes need a positive mean"),
    ],
)
def test_columns_that_no_analysis_can_use_are_named(columns, metric, reason):
    with pytest.raises(DataError, match=reason):
        analyze_variants(planted(**columns), design([metric]))


def test_a_variant_without_units_is_named():
    with pytest.raises(DataError, match="variant 'treatment' has 0 units"):
        analyze_variants(planted().query("variant == 'control'"), design(["spend"]))


def effect(metric, relative, half=0.01, p=0.001, variant="treatment"):
    low, high = relative - half, relative + half
    return MetricEffect(
        variant, metric, 100, 100 * (1 + relative), 100 * low, 100 * high, relative, low, high, p, p, 0, 0.05
    )


PLAN = design(["spend", "returns"], guardrails={"margin": -0.02, "latency": 0.05}, fewer_is_better=["returns"])
GUARDS = [effect("margin", 0.0), effect("latency", 0.02)]


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([effect("spend", 0.03), effect("returns", 0.0, p=0.9), *GUARDS], "Take treatment: it is better on spend"),
        ([effect("spend", 0.0, p=0.9), effect("returns", -0.1), *GUARDS], "Take treatment: it is better on returns"),
        ([effect("spend", -0.03), effect("returns", 0.0, p=0.9), *GUARDS], "Keep control: treatment is worse on spend"),
        ([effect("spend", 0.03), effect("returns", 0.1), *GUARDS], "Weigh it yourself"),
        ([effect("spend", 0.0, p=0.9), effect("returns", 0.0, p=0.9), *GUARDS], "No difference is shown"),
        ([effect("spend", 0.03), effect("margin", -0.05)], "Keep control: treatment breaks the guardrail margin"),
        ([effect("spend", 0.03), effect("latency", 0.2)], "Keep control: treatment breaks the guardrail latency"),
        ([effect("spend", 0.03), effect("margin", -0.02), GUARDS[1]], "Not yet: treatment is better on spend"),
    ],
)
def test_the_decision_is_said_in_plain_words(effects, said):
    assert decision.decide_on_variant(effects, PLAN).startswith(said)


def test_a_plan_is_the_textbook_formula():
    wanted = 2 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * 20**2 / (10 * 0.05) ** 2 * 2
    assert compute_units_needed(PastMetric.from_moments(10, 20, 0), 0.05, AbtestPlan(HALVES)) == pytest.approx(
        wanted, rel=0.001
    )
    assert compute_units_needed(PastMetric.from_moments(10, 20, 0.6), 0.05, AbtestPlan(HALVES)) == pytest.approx(
        wanted * 0.64, rel=0.001
    )
    tenth = compute_units_needed(
        PastMetric.from_moments(10, 20, 0), 0.05, AbtestPlan({"control": 0.9, "treatment": 0.1})
    )
    assert tenth == pytest.approx(wanted / 4 / 0.09, rel=0.001)
    assert compute_units_needed(PastMetric.from_moments(0.03, None, 0), 0.1, AbtestPlan(HALVES)) == pytest.approx(
        101_507, rel=0.001
    )


def test_a_plan_from_a_table_reads_what_the_analysis_will():
    sample = PastMetric.from_table(planted(), "spend", "before")
    needed = compute_units_needed(sample, 0.02, AbtestPlan(HALVES))
    assert compute_smallest_effect(sample, needed, AbtestPlan(HALVES)) == pytest.approx(0.02, rel=0.001)
    assert needed < compute_units_needed(PastMetric.from_table(planted(), "spend", None), 0.02, AbtestPlan(HALVES)) / 2
    assert compute_units_needed(sample, 0.02, AbtestPlan(HALVES, compute_live_alpha(0.05))) > 1.5 * needed


def test_a_planned_test_finds_its_effect_as_often_as_promised():
    needed = compute_units_needed(PastMetric.from_table(planted(), "spend", None), 0.1, AbtestPlan(HALVES))
    rng = np.random.default_rng(0)
    spend = planted().spend.to_numpy()
    values = rng.choice(spend, (2000, needed))
    treated = np.arange(needed) % 2 == np.ones((2000, 1))
    z = z_statistic(np.where(treated, values + 0.1 * spend.mean(), values), treated)
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_small_shops_are_told():
    assert "needs 9,000 units and there are 500" in advise_on_duration(90, 9000, 500, 0.3)
    assert "90 weeks, about 21 months" in advise_on_duration(90, 9000, None, 0.1)
    assert advise_on_duration(1, 900, None, 0.1).startswith("Run it for 2 whole weeks")


def bandit(n, seed):
    """Rewards of items drawn by one policy; another one draws them by `target` and earns .316."""
    rng = np.random.default_rng(seed)
    chances, target, worth = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.2, 0.7]), np.array([0.1, 0.25, 0.36571428571])
    items = rng.choice(3, n, p=chances)
    return rng.random(n) < worth[items], chances[items], target[items], worth[items], np.full(n, worth @ target)


def test_estimates_hold_what_they_promise():
    found = {"snips": [], "doubly robust": []}
    for seed in range(300):
        reward, logged, target, predicted, expected = bandit(1000, seed)
        found["snips"].append(estimate_snips(reward, logged, target))
        found["doubly robust"].append(estimate_doubly_robust(reward, logged, target, predicted, expected))
    for estimates in found.values():
        assert np.mean([e.low < 0.316 < e.high for e in estimates]) == pytest.approx(0.95, abs=0.03)
        assert np.mean([e.value for e in estimates]) == pytest.approx(0.316, abs=0.006)
        assert 100 < estimates[0].effective_rows < 300


def test_doubly_robust_needs_only_one_of_the_two_to_be_right():
    reward, logged, target, predicted, expected = bandit(100_000, 0)
    wrong_model = estimate_doubly_robust(reward, logged, target, predicted * 0 + 0.9, expected * 0 + 0.9)
    wrong_chances = estimate_doubly_robust(reward, logged * 0 + 0.5, target * 0 + 0.5, predicted, expected)
    assert wrong_model.value == pytest.approx(0.316, abs=0.02)
    assert wrong_chances.value == pytest.approx(0.316, abs=0.02)
    assert estimate_snips(reward, logged * 0 + 0.5, target * 0 + 0.5).value < 0.2


def test_the_same_policy_earns_the_mean_and_is_worth_all_rows():
    reward, logged, *_ = bandit(500, 0)
    found = estimate_snips(reward, logged, logged)
    assert found.value == pytest.approx(reward.mean())
    assert found.effective_rows == pytest.approx(500)
    assert found.high - found.low == pytest.approx(2 * 1.96 * reward.std(ddof=1) / np.sqrt(500), rel=0.001)


def test_rows_of_one_unit_are_one_observation():
    reward, logged, target, *_ = bandit(500, 0)
    alone = estimate_snips(reward, logged, target)
    fourfold = [np.repeat(column, 4) for column in (reward, logged, target)]
    together = estimate_snips(*fourfold, unit=np.repeat(np.arange(500), 4))
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high))
    assert estimate_snips(*fourfold).low > alone.low


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (([1, 0], [0.5, 0], [0.5, 0.5]), "row 1 has logged=0"),
        (([1, 0], [0.5, np.nan], [0.5, 0.5]), "row 1 has logged=nan"),
        (([1, 0], [0.5, 0.5], [0.5, 1.5]), "target=1.5"),
        (([1, 0], [0.5, 0.5], [0, 0]), "cannot evaluate it"),
        (([1], [0.5], [0.5]), "give equally many"),
        (([1, 0], [0.5], [0.5, 0.5]), "give equally many"),
    ],
)
def test_chances_that_are_none_are_refused(columns, reason):
    with pytest.raises(ValueError, match=reason):
        estimate_snips(*columns)


RANKING = st.lists(st.integers(0, 30).map(str), unique=True, max_size=15)


@given(RANKING, RANKING, st.integers(1, 20), st.integers())
def test_a_draft_is_fair_and_complete(first, second, k, seed):
    items, teams = interleave_rankings(first, second, k, Random(seed))
    assert len(items) == len(set(items)) == min(k, len({*first, *second}))
    for n, (item, team) in enumerate(zip(items, teams, strict=True)):
        assert item == next(best for best in (first, second)[team] if best not in items[:n])


@given(st.integers(1, 10), st.integers())
def test_both_rankings_have_their_turns(pairs, seed):
    first, second = [f"a{n}" for n in range(10)], [f"b{n}" for n in range(10)]
    teams = interleave_rankings(first, second, 2 * pairs, Random(seed)).teams
    assert all(sum(teams[turn : turn + 2]) == 1 for turn in range(0, len(teams), 2))


def test_the_better_ranking_wins_and_equal_ones_do_not():
    random, rng = Random(0), np.random.default_rng(0)
    worth = rng.permutation(40)
    good, bad = np.argsort(-worth).astype(str).tolist(), rng.permutation(40).astype(str).tolist()
    clicks = {"better": [], "equal": []}
    for name, other in (("better", good), ("equal", bad)):
        for _ in range(300):
            items, teams = interleave_rankings(bad, other, 10, random)
            clicked = [rng.random() < worth[int(item)] / 100 for item in items]
            clicks[name].append([sum(c for c, t in zip(clicked, teams, strict=True) if t == side) for side in (0, 1)])
    better, equal = (estimate_preference(*np.array(clicks[name]).T) for name in ("better", "equal"))
    assert better.low > 0.5
    assert equal.low < 0.5 < equal.high
    with pytest.raises(ValueError, match="no unit clicked"):
        estimate_preference([1, 2], [1, 2])


def test_the_log_gives_back_what_was_written_and_skips_what_is_torn(tmp_path, caplog):
    path = tmp_path / "shown.jsonl"
    record = {"time": 1.5, "unit": "ada", "test": "t", "variant": "a", "items": ["x", "ÿ"], "chances": [0.5, None]}
    exposure_log.append_exposures(path, [record, {**record, "unit": None}])
    with path.open("a") as file:
        file.write('{"unit": "bob", "ite\n7\n')
    exposure_log.append_exposures(path, [{**record, "variant": "b"}, {**record, "test": "u", "unit": "eve"}])
    with caplog.at_level(logging.WARNING):
        assert next(exposure_log.read_exposures(path)) == record
        assert len(list(exposure_log.read_exposures(path))) == 4
    assert "2 lines" in caplog.text
    assert exposure_log.read_variants_by_unit(path, "t") == {"ada": {"a", "b"}}
    rows = pd.DataFrame(exposure_log.read_shown_items(path))
    assert rows.head(2)[["unit", "item", "place"]].to_numpy().tolist() == [["ada", "x", 0], ["ada", "ÿ", 1]]
    assert rows["chance"][0] == 0.5


def run(command, *words):
    return list(build(composed(*words, name=f"abtest_{command}")))


def test_a_file_is_assigned_and_analyzed(tmp_path):
    units, out = tmp_path / "units.csv", tmp_path / "out.parquet"
    planted(2000).drop(columns="variant").assign(id=[f"{n:05}" for n in range(2000)]).to_csv(units, index=False)
    said = run("assign", "name=spring", f"units={units}", "unit=id", f"out={out}", "traffic=0.9")
    written = pd.read_parquet(out)
    assert written.id[7] == "00007"
    wanted = [assign_variant("spring", unit, HALVES, 0.9) for unit in written.id]
    assert written.variant.astype(object).where(written.variant.notna(), None).tolist() == wanted
    assert f"control {wanted.count('control'):,}" in said[0]
    written.dropna().to_csv(units, index=False)
    lines = run("analyze", f"table={units}", "unit=id", "metrics=[spend,orders/visits]", "covariates={spend: before}")
    assert lines[0].startswith("units: control ")
    assert "not shown" in lines[1]
    assert lines[2].startswith("No difference is shown between treatment and control")


def exposure(unit, variant):
    return {"time": 0, "unit": unit, "test": "t", "variant": variant, "items": []}


def test_only_those_who_were_shown_something_count(tmp_path):
    frame = planted(2000, effect=0.2).assign(id=[str(n) for n in range(2000)])
    shown = frame[frame.index % 3 > 0]
    for row in [*shown.itertuples(), *shown.itertuples()]:
        exposure_log.append_exposures(tmp_path / "log", [exposure(log_unit_id(row.id, "key"), row.variant)])
    frame.drop(columns="variant").to_csv(tmp_path / "t.csv", index=False)
    words = [f"table={tmp_path / 't.csv'}", "metrics=[spend]", f"shown={tmp_path / 'log'}", "name=t", "key=key"]
    lines = run("analyze", *words, "unit=id")
    assert (
        lines[0]
        == "1,333 units saw the test 't'; 0 of them have no row in the table; 667 rows of other units are left out"
    )
    assert lines[-1].startswith("Take treatment: it is better on spend")
    with pytest.raises(ConfigError, match="also needs unit=COLUMN"):
        run("analyze", *words)
    exposure_log.append_exposures(tmp_path / "log", [exposure(log_unit_id("1", "key"), "control")])
    with pytest.raises(DataError, match=r"1 units in .* saw two variants of the test 't'"):
        run("analyze", *words, "unit=id")


@pytest.mark.parametrize(
    ("command", "words", "reason"),
    [
        ("plan", ["effect=0", "weekly=10", "mean=1"], "effect=0 is invalid"),
        ("plan", ["effect=0.1", "weekly=10"], "give either table=FILE"),
        ("plan", ["effect=0.1", "weekly=10", "mean=5"], "mean=5 is not a rate"),
        ("plan", ["effect=0.1", "weekly=10", "mean=0", "sd=1"], "mean=0 is invalid"),
        ("plan", ["effect=0.1", "weekly=10", "mean=0.1", "alpha=5"], "alpha=5 is invalid"),
        ("plan", ["effect=0.1", "weekly=10", "mean=0.1", "customers=0"], "customers=0 is invalid"),
        ("plan", ["effect=0.1", "weekly=10", "table=T", "metric=variant"], "'variant' is not all numbers"),
        ("plan", ["effect=0.1", "weekly=10", "table=T"], "metric is not set"),
        ("plan", ["effect=0.1", "weekly=10", "table=T", "metric=money"], "no column 'money'"),
        ("assign", ["name=t", "units=T", "unit=who", "out=O"], "no column 'who'; it has variant, spend"),
        ("assign", ["name=t", "units=nowhere", "unit=who", "out=O"], "no file 'nowhere'"),
        ("analyze", ["table=T", "metrics=[]"], "metrics is empty"),
        ("analyze", ["table=T", "metrics=[spend]", "guardrails={visits: 0}"], "guardrails.visits=0 has no direction"),
        ("analyze", ["table=T", "metrics=[spend]", "covariates={orders: before}"], "'orders' is neither in metrics"),
        ("analyze", ["table=T", "metrics=[spend]", "unit=visits"], "'visits' repeats"),
        ("analyze", ["table=T", "metrics=[spend]", "variants=[a]"], "at least two different"),
        ("analyze", ["table=T", "metrics=[money]"], "no column 'money'"),
        ("analyze", ["table=T", "metrics=[spend]", "live=-5"], "live=-5 is invalid"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_named(command, words, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planted(20).to_csv("T", index=False)
    with pytest.raises((ConfigError, DataError), match=reason):
        run(command, *words)


def test_a_plan_is_printed_with_what_shorter_tests_would_see(tmp_path):
    planted().to_parquet(tmp_path / "past.parquet")
    words = [f"table={tmp_path / 'past.parquet'}", "metric=spend", "covariate=before", "effect=0.01", "weekly=50"]
    first, table, last = run("plan", *words)
    assert first.startswith("Detecting a change of +1.0% takes ")
    assert "change detected in 80% of tests" in table
    assert "This test would need" in last
    assert "cannot be run" in run("plan", *words, "customers=500")[-1]
