"""`recsys forecast`: who buys within a horizon, how often, for how much, and probably what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from recsys.apps.customers.backtest import Fold, backtest, better
from recsys.apps.customers.customer_features import data_of
from recsys.apps.customers.forecast_chart import draw
from recsys.apps.customers.forecast_methods import RUNGS, Rung, order_value
from recsys.apps.customers.purchases import Ledger, days_of, open_ledger
from recsys.apps.recommend import write_lists
from recsys.errors import ConfigError
from recsys.run import Run, atomic

INACTIVE = 0.1
"""below which probability of an order a customer is counted as probably inactive"""
BATCH = 256
LIST = ["user", "p_buys", "expected_orders", "expected_spend"]


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
    """Write forecast.parquet and forecast.png into `out`, and with a run due.parquet; settings as in
    configs/forecast.yaml. Returns the back-test as a table, and what is forecast. Raises ConfigError, DataError.
    """
    if rung != "auto" and rung not in RUNGS:
        raise ConfigError(f"rung={rung} is unknown; use auto, {', '.join(RUNGS)}")
    trained, settings = data_of(run, data)
    span = days_of(horizon, "horizon")
    ledger = open_ledger(settings)
    found = backtest(ledger, span, folds)
    names = ("log_loss", "mae") if rung == "auto" else ()
    whether, often = (better(found, figure) for figure in names) if names else (rung, rung)
    table = expected(ledger, whether, often, span)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / "forecast.parquet") as path:
        table.to_parquet(path, index=False)
    draw(folder / "forecast.png", found)
    lines = [
        *_tested(found),
        "",
        *_said(table, whether, often, ledger, span),
        f"written: {folder}/forecast.parquet, forecast.png",
    ]
    return lines if trained is None else [*lines, _due(trained, table, ledger, folder, due, k)]


def expected(ledger: Ledger, whether: str, often: str, horizon: int) -> pd.DataFrame:
    """A row a customer, the likeliest to buy first: p_buys by one rung, expected_orders by the same or another,
    expected_spend, and what they did so far.
    """
    standing = ledger.before(ledger.end)
    p_buys = _fitted(ledger, whether, horizon).expect(standing, horizon).p_buys
    orders = _fitted(ledger, often, horizon).expect(standing, horizon).orders
    columns = {
        "user": [ledger.users[one] for one in standing.customers],
        "p_buys": p_buys,
        "expected_orders": orders,
        "expected_spend": orders * order_value(standing) if ledger.has_money else np.full(len(orders), np.nan),
        "days_since": standing.today - standing.last,
        "orders": standing.orders,
        "spend": standing.spend,
    }
    return pd.DataFrame(columns).sort_values("p_buys", ascending=False, kind="stable", ignore_index=True)


def _fitted(ledger: Ledger, name: str, horizon: int) -> Rung:
    rung = RUNGS[name]()
    if not rung.fit(ledger, ledger.end, horizon):
        raise ConfigError(f"rung={name} has too little to learn from for horizon={horizon}d; lower it")
    return rung


def _tested(found: Mapping[str, Sequence[Fold]]) -> list[str]:
    """Markdown: a row a rung and fold."""
    heads = ["rung", "from", "customers", "AUC", "ECE", "log loss", "orders MAE", "orders expected ÷ real"]
    rows = [heads, ["---"] * len(heads)]
    for name, folds in found.items():
        for fold in folds:
            figures = (f"{value:.4f}" for value in fold.figures.values())
            rows.append([name, str(np.datetime64(fold.cut, "D")), f"{len(fold.orders):,}", *figures])
    return [f"| {' | '.join(cells)} |" for cells in rows]


def _said(table: pd.DataFrame, whether: str, often: str, ledger: Ledger, span: int) -> list[str]:
    few = int((table["p_buys"] < INACTIVE).sum())
    spend = f" for {table['expected_spend'].sum():,.0f}" if ledger.has_money else ""
    by = whether if whether == often else f"{whether} (who buys) and {often} (how often)"
    return [
        f"{span} days from {np.datetime64(ledger.end, 'D')}, by {by}: of {len(table):,} customers "
        f"{table['p_buys'].sum():,.0f} buy, {table['expected_orders'].sum():,.0f} orders{spend}; {few:,} are probably "
        f"inactive (less than {INACTIVE:.0%} to buy)"
    ]


def _due(run: Run, table: pd.DataFrame, ledger: Ledger, folder: Path, due: int, k: int) -> str:
    """The likeliest customers with the items that the run's model.onnx gives them."""
    out = folder / "due.parquet"
    with TemporaryDirectory(prefix=".due-", dir=folder) as work:
        users = Path(work) / "users.parquet"
        table[LIST].head(due).to_parquet(users, index=False)
        write_lists(run, users, out, {"k": k, "exclude_seen": None}, ledger.midnight(ledger.end), BATCH, 1)
    return f"due soon, probably this: {out}"
