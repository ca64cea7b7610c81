"""Real data: a shop's customers split at random, a published test of a game, and logged bandits."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recsys.apps.abtest.analysis import analyze_variants, build_ratio_metric
from recsys.apps.abtest.design import AbtestDesign
from recsys.apps.abtest.off_policy import estimate_snips
from tests.apps.abtest.test_analysis import HALVES, peeks

CUT = 19971001


@pytest.fixture
def customers(public):
    """CDNOW's customers with their spend and orders before October 1997 and from then on."""
    path = public / "cdnow" / "cdnow_transactions.csv"
    if not path.exists():
        pytest.skip(f"there is no {path}: CDNOW_master.txt of the package lifetimes, as CSV")
    log = pd.read_csv(path, dtype={"customer_id": str})
    late = log["date"] >= CUT
    sums = {
        f"{name}{when}": part.groupby("customer_id")["dollar_value"].agg(how)
        for when, part in (("", log[late]), ("_before", log[~late]))
        for name, how in (("spend", "sum"), ("orders", "size"))
    }
    return pd.DataFrame(sums).fillna(0)


def test_random_halves_of_a_shop_show_that_the_covariate_pays(customers):
    assert len(customers) == 23_570
    rng = np.random.default_rng(0)
    frame = customers.assign(variant=rng.choice(["control", "treatment"], len(customers)))
    covariates = {"spend": "spend_before", "orders": "orders_before"}
    effects = analyze_variants(
        frame, AbtestDesign("control", HALVES, ["spend", "orders"], covariates=covariates)
    ).effects
    assert effects[0].variance_reduction == pytest.approx(0.353, abs=0.02)
    assert effects[1].variance_reduction == pytest.approx(0.421, abs=0.02)
    frame.loc[rng.permutation(frame.index[frame.variant == "treatment"])[:950], "variant"] = "control"
    counts = frame.variant.value_counts(normalize=True)
    assert counts["treatment"] == pytest.approx(0.46, abs=0.01)
    assert analyze_variants(frame, AbtestDesign("control", HALVES, ["spend"])).has_mismatch


@pytest.mark.slow
@pytest.mark.parametrize("covariate", [None, "spend_before"])
def test_random_halves_of_a_shop_differ_one_time_in_twenty(covariate, customers):
    test, rng, alarms = build_ratio_metric("spend", covariate), np.random.default_rng(0), []
    for _ in range(40):
        treated = rng.random((100, len(customers))) < 0.5
        alarms += [test.analyze_aggregates(*pair).pvalue < 0.05 for pair in aggregates(customers, treated)]
    assert len(alarms) == 4000
    print(f"{np.mean(alarms):.4f}")  # noqa: T201
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.01)


def aggregates(frame, treated):
    """tea-tasting's sums of control and treatment, for each row of `treated`."""
    from tea_tasting.aggr import Aggregates

    names = ["spend", "spend_before"]
    values = frame[names].to_numpy()
    products = np.column_stack([np.ones(len(values)), values, values**2, values.prod(axis=1)])
    for row in zip((~treated).astype(float) @ products, treated.astype(float) @ products, strict=True):
        pair = []
        for n, *sums in row:
            mean = dict(zip(names, np.array(sums[:2]) / n, strict=True))
            var = {name: (sums[2 + i] - n * mean[name] ** 2) / (n - 1) for i, name in enumerate(names)}
            cov = (sums[4] - n * mean["spend"] * mean["spend_before"]) / (n - 1)
            pair.append(Aggregates(int(n), mean, var, {("spend", "spend_before"): cov}))
        yield pair


@pytest.mark.slow
def test_ten_peeks_at_a_shop_deceive_the_fixed_interval_and_not_the_sequence(customers):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(10):
        values = rng.permuted(np.tile(customers["spend"].to_numpy(), (100, 1)), axis=1)
        found.append(peeks(values, rng.random(values.shape) < 0.5, 10))
    fixed, live = np.mean(found, axis=0)
    print(f"{fixed:.3f} {live:.3f}")  # noqa: T201
    assert fixed == pytest.approx(0.19, abs=0.04)
    assert live <= 0.05


def test_the_gate_of_a_game_as_an_independent_computation_has_it(public):
    frame = pd.read_parquet(public / "cookie-cats-ab" / "cookie_cats.parquet")
    shares = {"gate_30": 0.5, "gate_40": 0.5}
    found = analyze_variants(frame, AbtestDesign("gate_30", shares, ["retention_7"]), "version")
    assert found.counts == {"gate_30": 44_700, "gate_40": 45_489}
    assert not found.has_mismatch
    early, late = (frame.retention_7[frame.version == name].astype(float) for name in ("gate_30", "gate_40"))
    test = stats.ttest_ind(late, early, equal_var=False)
    interval = test.confidence_interval()
    (effect,) = found.effects
    assert effect.treatment - effect.control == pytest.approx(late.mean() - early.mean(), rel=1e-12)
    assert (effect.low, effect.high, effect.p_value) == pytest.approx(
        (interval.low, interval.high, test.pvalue), rel=1e-9
    )
    assert effect.treatment - effect.control == pytest.approx(-0.0082, abs=5e-5)


@pytest.mark.parametrize("campaign", ["all", "men", "women"])
def test_logs_of_random_lists_tell_what_thompson_sampling_earned(campaign, public):
    folder = public / "open-bandit-small"
    random, thompson = (pd.read_csv(folder / policy / campaign / f"{campaign}.csv.gz") for policy in ("random", "bts"))
    seen = thompson.groupby("position")["item_id"].value_counts(normalize=True)
    target = seen.reindex(pd.MultiIndex.from_frame(random[["position", "item_id"]]), fill_value=0).to_numpy()
    found = estimate_snips(random["click"], random["propensity_score"], target)
    assert found.low < thompson["click"].mean() < found.high
    assert 2000 < found.effective_rows < 4000
