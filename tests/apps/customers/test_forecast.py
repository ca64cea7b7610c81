"""Forecasts: the likelihood finds planted rates, no window reaches past its cut, and the better method is used."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import hyp2f1
from sklearn.metrics import roc_auc_score

from recsys.apps.customers import bgnbd
from recsys.apps.customers.backtest import choose_better_method, compute_calibration_error, run_backtest
from recsys.apps.customers.bgnbd import BgNbd
from recsys.apps.customers.forecast_methods import (
    FORECAST_METHODS,
    BgNbdMethod,
    LogisticMethod,
    compute_order_value,
    list_training_cut_offs,
)
from recsys.apps.customers.purchases import OrderSummary
from recsys.errors import ConfigError
from tests.customers import DAY, START, cdnow_purchases, planted_customers, planted_orders, purchases_of, run_recsys

TRUE = {"r": 0.8, "alpha": 3.0, "a": 0.7, "b": 2.5}
WEEKS = 60


@pytest.fixture(scope="module")
def purchases(tmp_path_factory):
    """Customers who buy by the BG/NBD model, for 26 weeks longer than the fit uses."""
    return purchases_of(
        tmp_path_factory.mktemp("purchases"), planted_orders(3000, **TRUE, weeks=WEEKS + 26), money=None
    )


def summary(last, orders, today=140):
    first = np.zeros(len(last), dtype=int)
    return OrderSummary(today, np.arange(len(last)), first, np.array(last), np.array(orders), np.array(orders) * 10.0)


def test_likelihood_finds_the_planted_parameters(purchases):
    found = bgnbd.fit_bgnbd(purchases.summarize_before(START + 7 * WEEKS))
    assert found.r / found.alpha == pytest.approx(TRUE["r"] / TRUE["alpha"], rel=0.1)
    assert found.a / (found.a + found.b) == pytest.approx(TRUE["a"] / (TRUE["a"] + TRUE["b"]), rel=0.1)


def test_expectations_are_what_comes(purchases):
    method, cut = BgNbdMethod(), START + 7 * WEEKS
    assert method.fit(purchases, cut, 182)
    seen = purchases.summarize_before(cut)
    expected, (orders, _) = method.predict(seen, 182), purchases.sum_between(cut, cut + 182, seen.numbers)
    assert expected.orders.sum() == pytest.approx(orders.sum(), rel=0.15)
    assert expected.p_buys.sum() == pytest.approx((orders > 0).sum(), rel=0.1)
    assert roc_auc_score(orders > 0, expected.p_buys) > 0.75


def test_expected_orders_equal_the_papers_formula():
    model, seen, t = BgNbd(0.25, 4.8, 0.72, 2.16), summary([0, 60, 130], [1, 3, 9]), 10.0
    x, _, age = bgnbd.summarize_repeats(seen)
    r, alpha, a, b = model.r, model.alpha, model.a, model.b
    series = hyp2f1(r + x, b + x, a + b + x - 1, t / (alpha + age + t))
    paper = (a + b + x - 1) / (a - 1) * (1 - ((alpha + age) / (alpha + age + t)) ** (r + x) * series)
    np.testing.assert_allclose(model.expected_orders(seen, t), paper * model.p_active(seen), rtol=1e-9)
    many = summary([139], [140])
    assert 0 < model.expected_orders(many, t)[0] < 140 and 0.9 < model.p_buys(many, t)[0] < 1


def test_who_was_seen_longer_ago_is_less_likely_to_buy():
    model = BgNbd(0.25, 4.8, 0.72, 2.16)
    chances = model.p_buys(summary([20, 60, 100, 139], [4] * 4), 13.0)
    assert (np.diff(chances) > 0).all()
    assert (model.p_buys(summary([60], [4]), 26.0) > model.p_buys(summary([60], [4]), 13.0)).all()


def test_no_window_reaches_past_its_cut(purchases):
    for horizon in (7, 30, 91):
        cut = START + 300
        found = list_training_cut_offs(purchases, cut, horizon)
        assert found and max(found) + horizon <= cut and min(found) - horizon >= purchases.start
    assert list_training_cut_offs(purchases, START + 100, 60) == []


@pytest.mark.parametrize("name", FORECAST_METHODS)
def test_what_comes_after_the_cut_changes_no_forecast(tmp_path, name):
    events, cut, horizon = planted_customers(), START + 200, 45
    later = events["timestamp"] >= cut * DAY
    assert later.any()
    forecasts = []
    for log in (events, events[~later], pd.concat([events, events[later].assign(paid=1e6, user="loyal00")])):
        found = purchases_of(tmp_path, log)
        method = FORECAST_METHODS[name]()
        assert method.fit(found, cut, horizon)
        forecasts.append(method.predict(found.summarize_before(cut), horizon))
    for other in forecasts[1:]:
        np.testing.assert_allclose(other.p_buys, forecasts[0].p_buys, rtol=1e-9)
        np.testing.assert_allclose(other.orders, forecasts[0].orders, rtol=1e-9)


def test_one_day_later_the_labels_would_leak(tmp_path):
    """The test above can fail: a fit that reads one more horizon gives other forecasts."""
    found = purchases_of(tmp_path, planted_customers())
    fitted = []
    for cut in (START + 200, START + 245):
        method = LogisticMethod()
        method.fit(found, cut, 45)
        fitted.append(method.predict(found.summarize_before(START + 200), 45).p_buys)
    assert not np.allclose(*fitted)


def test_backtests_compare_on_the_same_cuts_and_the_better_is_used(purchases):
    found = run_backtest(purchases, 91, 3)
    assert set(found) == set(FORECAST_METHODS)
    cuts = {name: [fold.cut for fold in folds] for name, folds in found.items()}
    assert cuts["logistic"] == cuts["bgnbd"] and max(cuts["bgnbd"]) + 91 == purchases.end
    losses = {name: np.mean([fold.figures["log_loss"] for fold in folds]) for name, folds in found.items()}
    assert choose_better_method(found, "log_loss") == min(losses, key=losses.get)
    only = run_backtest(purchases, 280, 3)
    assert list(only) == ["bgnbd"]
    with pytest.raises(ConfigError, match=r"horizon=400d needs a log of at least 800 days"):
        run_backtest(purchases, 400, 3)


def test_calibration_error_of_what_is_right_and_wrong():
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    happened = rng.random(20_000) < p
    assert compute_calibration_error(p, happened) < 0.02
    assert compute_calibration_error(np.clip(p + 0.2, 0, 1), happened) == pytest.approx(0.2, abs=0.04)
    assert compute_calibration_error(np.full(3, 0.5), np.array([True, True, True])) == 0.5


def test_the_value_of_an_order_is_drawn_towards_everybodys():
    seen = OrderSummary(9, np.arange(2), np.zeros(2), np.zeros(2), np.array([1, 9]), np.array([100.0, 90.0]))
    assert compute_order_value(seen).tolist() == pytest.approx([(100 + 19) / 2, (90 + 19) / 10])


def test_the_command(customers_log, tmp_path, capsys):
    data = [f"data.path={customers_log}", f"data.folder={customers_log.parent}/data", "data.columns.money=paid"]
    run_recsys("forecast", "data=parquet", *data, "horizon=45d", f"out={tmp_path}")
    said = capsys.readouterr().out
    assert "| logistic | " in said and "| bgnbd | " in said and "inactive" in said and "churn" not in said
    table = pd.read_parquet(tmp_path / "forecast.parquet").set_index("user")
    assert table["p_buys"].is_monotonic_decreasing and table["p_buys"].between(0, 1).all()
    group = table.groupby(table.index.str[:-2]).mean()
    assert group.loc["loyal", "p_buys"] > 0.9 and group.loc["lapsed", "p_buys"] < 0.1
    assert group.loc["loyal", "expected_spend"] > 300
    assert (tmp_path / "forecast.png").exists() and not (tmp_path / "due.parquet").exists()
    with pytest.raises(SystemExit, match="rung=arima is unknown; use auto, logistic, bgnbd"):
        run_recsys("forecast", "data=parquet", *data, "rung=arima")


@pytest.mark.slow
def test_the_list_of_who_is_due_and_what(customers_run, tmp_path, capsys):
    run_recsys("forecast", f"run={customers_run.folder}", "horizon=45d", "due=7", "k=2", f"out={tmp_path}")
    assert "customers due soon, with likely items: " in capsys.readouterr().out
    due = pd.read_parquet(tmp_path / "due.parquet")
    table = pd.read_parquet(tmp_path / "forecast.parquet")
    assert due["user"].tolist() == table["user"].head(7).tolist()
    assert due["p_buys"].tolist() == table["p_buys"].head(7).tolist()
    assert due["items"].map(len).eq(2).all() and (due["known"] > 0).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["due.parquet", "forecast.parquet", "forecast.png"]


def test_cdnow_parameters(public):
    """The maximum-likelihood parameters of all 23,570 customers over weeks 1-39."""
    purchases = cdnow_purchases(public)
    found = bgnbd.fit_bgnbd(purchases.summarize_before(purchases.start + 39 * 7))
    frozen = {"r": 0.2516, "alpha": 4.789, "a": 0.7234, "b": 2.161}
    assert vars(found) == pytest.approx(frozen, rel=0.01)


def test_cdnow_forecasts(public):
    purchases = cdnow_purchases(public)
    cut = purchases.start + 39 * 7
    seen = purchases.summarize_before(cut)
    method = LogisticMethod()
    assert method.fit(purchases, cut, 91)
    bought = purchases.sum_between(cut, cut + 91, seen.numbers)[0] > 0
    p = method.predict(seen, 91).p_buys
    assert roc_auc_score(bought, p) >= 0.77 and compute_calibration_error(p, bought) <= 0.02
    assert not LogisticMethod().fit(purchases, cut, 273)
    counts = BgNbdMethod()
    counts.fit(purchases, cut, 273)
    orders, _ = purchases.sum_between(cut, cut + 273, seen.numbers)
    assert np.abs(counts.predict(seen, 273).orders - orders).mean() <= 0.82
