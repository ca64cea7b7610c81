"""Customers whose groups and rates are known, and the purchases of any log."""

import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from recsys.apps.customers.purchases import Purchases, read_purchases
from recsys.cli.main import run_command
from recsys.data.schema import Clock, Columns
from recsys.data.settings import DataSettings
from recsys.data.sources.files import Csv, FrameSource

DAY = 86_400
START = 19_000
LENGTH = 300
WEEK = 7
GROUPS = {"loyal": (5, 90.0, LENGTH), "lapsed": (6, 80.0, 100), "small": (40, 6.0, LENGTH)}
"""days between orders, what an order costs, the day after the last one"""


def planted_customers(n_per_group: int = 40, seed: int = 0) -> pd.DataFrame:
    """Three groups of customers: columns user ("loyal07"), item (three a group), timestamp (seconds), paid."""
    rng = np.random.default_rng(seed)
    rows = []
    for group_number, (group, (gap, cost, end)) in enumerate(GROUPS.items()):
        for number in range(n_per_group):
            day = rng.integers(gap)
            while day < end:
                item = f"i{3 * group_number + rng.integers(3)}"
                rows.append((f"{group}{number:02}", item, (START + day) * DAY + 3600, cost * rng.uniform(0.9, 1.1)))
                day += max(1, round(gap * rng.uniform(0.8, 1.2)))
    return pd.DataFrame(rows, columns=["user", "item", "timestamp", "paid"])


def planted_orders(n: int, r: float, alpha: float, a: float, b: float, weeks: int, seed: int = 0) -> pd.DataFrame:
    """The orders of `n` customers who buy by the BG/NBD model from the first week on: user, item, timestamp."""
    rng = np.random.default_rng(seed)
    rates, stops = rng.gamma(r, 1 / alpha, n), rng.beta(a, b, n)
    rows = []
    for user in range(n):
        week = rng.uniform(0, 1)
        while week < weeks:
            rows.append((f"u{user:04}", "i", int((START + week * WEEK) * DAY)))
            week += rng.exponential(1 / rates[user])
            if len(rows) > 1 and rows[-2][0] == rows[-1][0] and rng.random() < stops[user]:
                break
    return pd.DataFrame(rows, columns=["user", "item", "timestamp"])


def purchases_of(
    folder: Path, events: pd.DataFrame, zone: str = "UTC", money: str | None = "paid", **more
) -> Purchases:
    """The purchases of a log, of which `items` and `users` tables may be given."""
    source = FrameSource(events, more.pop("items", None), more.pop("users", None))
    columns, clock = Columns(money=money), Clock(zone=zone)
    return read_purchases(DataSettings("events", source, columns=columns, clock=clock, folder=str(folder), **more))


@cache
def cdnow_purchases(public: Path) -> Purchases:
    """The 69,659 purchases of 23,570 CDNOW customers; skips, saying so, where the file is not."""
    path = public / "cdnow" / "cdnow_transactions.csv"
    if not path.exists():
        pytest.skip("needs cdnow/cdnow_transactions.csv in RECSYS_DATA; docs/customers.md says where it is from")
    columns = Columns(user="customer_id", item="item", timestamp="date", money="dollar_value")
    with TemporaryDirectory() as folder:
        return read_purchases(DataSettings("cdnow", Csv(str(path)), columns=columns, folder=folder))


def run_recsys(name: str, *words: object) -> None:
    """`recsys NAME WORDS`."""
    with mock.patch.object(sys, "argv", ["recsys", *map(str, words)]):
        run_command(name)
