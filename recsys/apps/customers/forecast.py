"""`recsys forecast`: who buys within a horizon, how often, for how much, and which items."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from recsys.apps.customers.backtest import Fold, choose_better_method, run_backtest
from recsys.apps.customers.customer_features import resolve_data_settings
from recsys.apps.customers.forecast_chart import draw_calibration_chart
from recsys.apps.customers.forecast_methods import (
    FORECAST_METHODS,
    CustomerForecast,
    compute_order_value,
)
from recsys.apps.customers.purchases import OrderSummary, Purchases, load_purchases, parse_days
from recsys.apps.recommend import write_lists
from recsys.errors import ConfigError
from recsys.run import Run, atomic

INACTIVE = 0.1
"""probability of an order below which a customer is probably inactive"""
BATCH_SIZE = 256
DUE_COLUMNS = ["user", "p_buys", "expected_orders", "expected_spend"]


def forecast(
    run: str | None,
    data: dict[str, Any],
    horizon: str,
    rung: str,
    folds: int,
    due: int,
    k: int,
    out: str,
) -> list[str]:
    """Write forecast.parquet and forecast.png into `out`, and with a run due.parquet; the settings are those of
    configs/forecast.yaml. Returns the back-test as a table, and a summary. Raises ConfigError, DataError.
    """
    if rung != "auto" and rung not in FORECAST_METHODS:
        raise ConfigError(f"rung={rung} is unknown; use auto, {', '.join(FORECAST_METHODS)}")
    source, settings = resolve_data_settings(run, data)
    horizon_days = parse_days(horizon, "horizon")
    purchases = load_purchases(settings)
    results = run_backtest(purchases, horizon_days, folds)
    probability_method = order_method = rung
    if rung == "auto":
        probability_method = choose_better_method(results, "log_loss")
        order_method = choose_better_method(results, "mae")
    table = forecast_customers(purchases, probability_method, order_method, horizon_days)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / "forecast.parquet") as path:
        table.to_parquet(path, index=False)
    draw_calibration_chart(folder / "forecast.png", results)
    methods = probability_method
    if order_method != probability_method:
        methods = f"{probability_method} (who buys) and {order_method} (how often)"
    lines = [
        *_format_backtest(results),
        "",
        _summarize(table, methods, purchases, horizon_days),
        f"written: {folder}/forecast.parquet, forecast.png",
    ]
    return lines if source is None else [*lines, _write_due_list(source, table, purchases, folder, due, k)]


def forecast_customers(purchases: Purchases, probability_method: str, order_method: str, horizon: int) -> pd.DataFrame:
    """A row for each customer, the likeliest to buy first: p_buys, expected_orders and expected_spend in the `horizon`
    days after the log, and their days since the last order, orders and spend so far.
    """
    customers = purchases.summarize_before(purchases.end)
    p_buys = _fit_and_predict(purchases, probability_method, customers, horizon).p_buys
    orders = _fit_and_predict(purchases, order_method, customers, horizon).orders
    spend = orders * compute_order_value(customers) if purchases.has_money else np.full(len(orders), np.nan)
    columns = {
        "user": [purchases.users[number] for number in customers.numbers],
        "p_buys": p_buys,
        "expected_orders": orders,
        "expected_spend": spend,
        "days_since": customers.today - customers.last,
        "orders": customers.orders,
        "spend": customers.spend,
    }
    return pd.DataFrame(columns).sort_values("p_buys", ascending=False, kind="stable", ignore_index=True)


def _fit_and_predict(purchases: Purchases, name: str, customers: OrderSummary, horizon: int) -> CustomerForecast:
    method = FORECAST_METHODS[name]()
    if not method.fit(purchases, purchases.end, horizon):
        raise ConfigError(f"rung={name} has too little data to learn from for horizon={horizon}d; lower horizon")
    return method.predict(customers, horizon)


def _format_backtest(results: Mapping[str, Sequence[Fold]]) -> list[str]:
    """A Markdown table with a row for each method and fold."""
    head = ["method", "from", "customers", "AUC", "ECE", "log loss", "MAE of orders", "forecast ÷ real orders"]
    rows = [head, ["---"] * len(head)]
    for name, folds in results.items():
        for fold in folds:
            figures = (f"{value:.4f}" for value in fold.figures.values())
            rows.append([name, str(np.datetime64(fold.cut, "D")), f"{len(fold.orders):,}", *figures])
    return [f"| {' | '.join(cells)} |" for cells in rows]


def _summarize(table: pd.DataFrame, methods: str, purchases: Purchases, horizon: int) -> str:
    first_day = np.datetime64(purchases.end, "D")
    n_inactive = int((table["p_buys"] < INACTIVE).sum())
    worth = f" worth {table['expected_spend'].sum():,.0f}" if purchases.has_money else ""
    return (
        f"Forecast for the {horizon} days from {first_day}, by {methods}: {table['p_buys'].sum():,.0f} of "
        f"{len(table):,} customers are expected to buy, with {table['expected_orders'].sum():,.0f} orders{worth}; "
        f"{n_inactive:,} are probably inactive (probability of an order below {INACTIVE:.0%})"
    )


def _write_due_list(run: Run, table: pd.DataFrame, purchases: Purchases, folder: Path, n_due: int, k: int) -> str:
    """Write due.parquet: the `n_due` likeliest customers with `k` items each from the run's model.onnx. Returns a line
    with its path.
    """
    out = folder / "due.parquet"
    with TemporaryDirectory(prefix=".due-", dir=folder) as work:
        users = Path(work) / "users.parquet"
        table[DUE_COLUMNS].head(n_due).to_parquet(users, index=False)
        now = purchases.midnight(purchases.end)
        write_lists(run, users, out, {"k": k, "exclude_seen": None}, now, BATCH_SIZE, 1)
    return f"customers due soon, with likely items: {out}"
