"""All purchases of a data configuration by customer, day and money.

Unlike a prepared dataset, they keep rare items and prices. N purchases (lines), O orders, C customers.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from recsys.config.build import build
from recsys.config.settings import check_settings
from recsys.data.engines.duckdb import Engine, Frame, open_engine
from recsys.data.preparation.refunds import remove_refunds
from recsys.data.preparation.side_tables import select_side_tables
from recsys.data.preparation.validation import validate_events
from recsys.data.settings import DataSettings
from recsys.errors import ConfigError, DataError

Array = np.ndarray


@dataclass(frozen=True)
class OrderSummary:
    """The customers who had ordered before a day, with all arrays (C,); `today` is the last day that counts."""

    today: int
    numbers: Array
    """of the customers in `Purchases.users`"""
    first: Array
    """day of the first order"""
    last: Array
    """day of the last order"""
    orders: Array
    spend: Array

    def select(self, mask: Array) -> "OrderSummary":
        """The customers of a mask (C,)."""
        columns = (getattr(self, name)[mask] for name in ("numbers", "first", "last", "orders", "spend"))
        return OrderSummary(self.today, *columns)

    def compute_rfm(self) -> Array:
        """(C, 3) log1p of the days since the last order, log of orders, log1p of spend."""
        spend = np.log1p(np.maximum(self.spend, 0))
        return np.stack([np.log1p(self.today - self.last), np.log(self.orders), spend], axis=1)


@dataclass(frozen=True)
class Purchases:
    """Lines sorted by day. An order is a day on which a customer bought; days count from 1970 in the shop's zone."""

    users: list[str]
    items: list[str]
    lines: pd.DataFrame
    """columns user and item (numbers), day, money"""
    has_money: bool
    """False: every line counts 1"""
    zone: str
    side_tables: dict[str, pd.DataFrame]
    """the columns of the `user` and `item` tables that data.features names, by raw id"""

    @cached_property
    def orders(self) -> pd.DataFrame:
        """(O,) columns user, day, money."""
        orders: pd.DataFrame = self.lines.groupby(["user", "day"], as_index=False).agg(money=("money", "sum"))
        return orders

    @property
    def money_label(self) -> str:
        """The word for what the money column counts."""
        return "spend" if self.has_money else "purchases"

    @property
    def start(self) -> int:
        """The first day."""
        return int(self.lines["day"].iloc[0])

    @property
    def end(self) -> int:
        """The day after the last one."""
        return int(self.lines["day"].iloc[-1]) + 1

    def summarize_before(self, cut: int) -> OrderSummary:
        """The customers at the start of day `cut`; nothing from that day on is read."""
        before = self.orders[self.orders["day"] < cut]
        customers = before.groupby("user").agg(
            first=("day", "min"), last=("day", "max"), orders=("day", "size"), spend=("money", "sum")
        )
        columns = (customers[name].to_numpy() for name in ("first", "last", "orders", "spend"))
        return OrderSummary(cut - 1, customers.index.to_numpy(), *columns)

    def sum_between(self, start: int, end: int, numbers: Array) -> tuple[Array, Array]:
        """(C,) orders and (C,) spend of the customers `numbers` (C,) from day `start` up to, not including, `end`."""
        window = self.orders[(self.orders["day"] >= start) & (self.orders["day"] < end)]
        n_users = len(self.users)
        orders = np.bincount(window["user"], minlength=n_users)
        spend = np.bincount(window["user"], window["money"], n_users)
        return orders[numbers], spend[numbers]

    def midnight(self, day: int) -> int:
        """The time at which a day starts in the shop's zone, in seconds since 1970."""
        local = pd.Timestamp(day, unit="D").tz_localize(self.zone, ambiguous=True, nonexistent="shift_forward")
        return int(local.timestamp())

    def day_of(self, seconds: int) -> int:
        """The day of a time, given in seconds since 1970, in the shop's zone."""
        return int(convert_to_days(np.array([seconds]), self.zone, "s")[0])


def load_purchases(data: dict[str, Any]) -> Purchases:
    """The purchases of the settings `data`, read from their source; raises ConfigError without times."""
    config = OmegaConf.create({"data": data})
    check_settings(config)
    if config.data.columns.timestamp is None:
        raise ConfigError(
            "segments and forecasts need the time of each purchase; name its column under data.columns.timestamp"
        )
    return read_purchases(build(config.data))


def read_purchases(settings: DataSettings) -> Purchases:
    """The purchases of a source; events are kept by the rules of `prepare`, except that rare items stay and there is no
    core filter. Raises DataError if none is left.
    """
    columns, clock, filters = settings.columns, settings.clock, settings.filters
    target_events = settings.target_events
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".purchases-", dir=settings.folder) as work, open_engine(Path(work)) as engine:
        tables = settings.source.read(engine)
        extra = (columns.money,) if columns.money else ()
        valid = validate_events(tables.events, columns, clock, extra, engine)
        valid = remove_refunds(valid, settings.refund_events, target_events or filters.events, engine)
        events = filters.select(valid.events)
        if target_events is not None:
            events = events.filter(nw.col("event").is_in(list(target_events)))
        rows = _read_rows(events, columns.money, engine)
        side_tables = select_side_tables(tables, columns, settings.features, engine)
    if rows.empty:
        raise DataError("the filters leave no purchases; relax data.filters or data.target_events")
    rows["day"] = convert_to_days(rows.pop("timestamp").to_numpy(), clock.zone, "us")
    users, items = (_number_ids(rows, name) for name in ("user", "item"))
    lines = rows.sort_values(["day", "user", "item"], kind="stable", ignore_index=True)
    return Purchases(users, items, lines, columns.money is not None, clock.zone, side_tables)


def convert_to_days(timestamps: Array, zone: str, unit: str) -> Array:
    """Days since 1970 in the calendar of a zone; `timestamps` count a NumPy `unit` such as s or us since 1970."""
    utc = pd.DatetimeIndex(timestamps.astype(f"datetime64[{unit}]")).tz_localize("UTC")
    local = utc.tz_convert(zone).tz_localize(None)
    return np.asarray(local.to_numpy().astype("datetime64[D]").astype(np.int64))


def _read_rows(events: Frame, money: str | None, engine: Engine) -> pd.DataFrame:
    names = ["user", "item", "timestamp"]
    if money is None:
        rows: pd.DataFrame = events.select(*names).collect("pandas").to_native()
        return rows.assign(money=1.0)
    priced = engine.to_number(events.select(*names, nw.col(f"extra_{money}").alias("money")), "money")
    rows = priced.collect("pandas").to_native()
    amounts = rows["money"].astype("float64")
    return rows.assign(money=amounts.where(np.isfinite(amounts), 0.0))


def _number_ids(rows: pd.DataFrame, name: str) -> list[str]:
    """The distinct ids of a column as text, sorted; replaces the column by their numbers."""
    codes, distinct = pd.factorize(rows[name].astype(str), sort=True)
    rows[name] = codes
    return [str(value) for value in distinct]


def parse_days(text: str, setting: str) -> int:
    """The number of days in a text such as 90d or 13w; raises ConfigError, naming the setting, for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,4})([dw])", str(text))
    if not match:
        raise ConfigError(f"{setting}={text} is invalid: expected days or weeks, such as 90d or 13w")
    return int(match[1]) * {"d": 1, "w": 7}[match[2]]
