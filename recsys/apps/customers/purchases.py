"""Who bought when and for how much: all purchases of a data configuration, in days.

Unlike a prepared dataset it keeps rare items and what was paid. N purchases (lines), O orders, C customers.
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
class Standing:
    """The customers who had bought before a day, `today` being the last day seen: all arrays (C,)."""

    today: int
    customers: Array
    """their numbers in the ledger"""
    first: Array
    last: Array
    """days of the first and the last order"""
    orders: Array
    spend: Array

    def of(self, some: Array) -> "Standing":
        """Some of the customers, by a mask (C,)."""
        columns = (getattr(self, name)[some] for name in ("customers", "first", "last", "orders", "spend"))
        return Standing(self.today, *columns)

    def rfm(self) -> Array:
        """(C, 3) log1p of the days since the last order, log of orders, log1p of spend."""
        spend = np.log1p(np.maximum(self.spend, 0))
        return np.stack([np.log1p(self.today - self.last), np.log(self.orders), spend], axis=1)


@dataclass(frozen=True)
class Ledger:
    """Lines sorted by day. An order is a day on which a customer bought; days count from 1970 in the shop's zone."""

    users: list[str]
    items: list[str]
    lines: pd.DataFrame
    """columns user and item (numbers), day, money"""
    has_money: bool
    """else every line counts 1"""
    zone: str
    side: dict[str, pd.DataFrame]
    """the columns of the `user` and `item` tables that data.features names, by raw id"""

    @cached_property
    def orders(self) -> pd.DataFrame:
        """(O,) columns user, day, money."""
        found: pd.DataFrame = self.lines.groupby(["user", "day"], as_index=False).agg(money=("money", "sum"))
        return found

    @property
    def unit(self) -> str:
        """What is added up as money."""
        return "spend" if self.has_money else "purchases"

    @property
    def start(self) -> int:
        """The first day."""
        return int(self.lines["day"].iloc[0])

    @property
    def end(self) -> int:
        """The day after the last one."""
        return int(self.lines["day"].iloc[-1]) + 1

    def before(self, cut: int) -> Standing:
        """The customers as they stand at the start of day `cut`; nothing from that day on is read."""
        seen = self.orders[self.orders["day"] < cut]
        found = seen.groupby("user").agg(
            first=("day", "min"), last=("day", "max"), orders=("day", "size"), spend=("money", "sum")
        )
        columns = (found[name].to_numpy() for name in ("first", "last", "orders", "spend"))
        return Standing(cut - 1, found.index.to_numpy(), *columns)

    def between(self, start: int, end: int, customers: Array) -> tuple[Array, Array]:
        """The orders and the spend of some customers from day `start` up to day `end`."""
        found = self.orders[(self.orders["day"] >= start) & (self.orders["day"] < end)]
        n = len(self.users)
        counts = np.bincount(found["user"], minlength=n)
        return counts[customers], np.bincount(found["user"], found["money"], n)[customers]

    def midnight(self, day: int) -> int:
        """When a day starts in the shop's zone, in seconds."""
        local = pd.Timestamp(day, unit="D").tz_localize(self.zone, ambiguous=True, nonexistent="shift_forward")
        return int(local.timestamp())

    def day_of(self, seconds: int) -> int:
        """The day of a moment in the shop's zone."""
        return int(days(np.array([seconds]), self.zone, "s")[0])


def open_ledger(data: dict[str, Any]) -> Ledger:
    """The ledger of the settings under `data`, read from their source; ConfigError without times."""
    config = OmegaConf.create({"data": data})
    check_settings(config)
    if config.data.columns.timestamp is None:
        raise ConfigError("customers are told apart by when they buy; name the times under data.columns.timestamp")
    return read_ledger(build(config.data))


def read_ledger(settings: DataSettings) -> Ledger:
    """The ledger of a source, by the rules by which `prepare` keeps events, but for cores and rare items."""
    columns, clock, filters, features = settings.columns, settings.clock, settings.filters, settings.features
    target_events = settings.target_events
    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".ledger-", dir=settings.folder) as work, open_engine(Path(work)) as engine:
        tables = settings.source.read(engine)
        extra = (columns.money,) if columns.money else ()
        valid = validate_events(tables.events, columns, clock, extra, engine)
        valid = remove_refunds(valid, settings.refund_events, target_events or filters.events, engine)
        events = filters.select(valid.events)
        if target_events is not None:
            events = events.filter(nw.col("event").is_in(list(target_events)))
        rows = _rows(events, columns.money, engine)
        side = select_side_tables(tables, columns, features, engine)
    if rows.empty:
        raise DataError("the filters leave no purchase; relax data.filters or data.target_events")
    rows["day"] = days(rows.pop("timestamp").to_numpy(), clock.zone, "us")
    users, items = (_numbered(rows, name) for name in ("user", "item"))
    lines = rows.sort_values(["day", "user", "item"], kind="stable", ignore_index=True)
    return Ledger(users, items, lines, columns.money is not None, clock.zone, side)


def days(moments: Array, zone: str, unit: str) -> Array:
    """Days since 1970, by the calendar of a zone."""
    local = (
        pd.DatetimeIndex(moments.astype(f"datetime64[{unit}]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    )
    return np.asarray(local.to_numpy().astype("datetime64[D]").astype(np.int64))


def _rows(events: Frame, money: str | None, engine: Engine) -> pd.DataFrame:
    names = ["user", "item", "timestamp"]
    if money is None:
        rows: pd.DataFrame = events.select(*names).collect("pandas").to_native()
        return rows.assign(money=1.0)
    found = engine.to_number(events.select(*names, nw.col(f"extra_{money}").alias("money")), "money")
    rows = found.collect("pandas").to_native()
    amounts = rows["money"].astype("float64")
    return rows.assign(money=amounts.where(np.isfinite(amounts), 0.0))


def _numbered(rows: pd.DataFrame, name: str) -> list[str]:
    """Puts numbers in place of the ids, in the order of their text, and returns that text."""
    codes, distinct = pd.factorize(rows[name].astype(str), sort=True)
    rows[name] = codes
    return [str(value) for value in distinct]


def days_of(text: str, setting: str) -> int:
    """The days of a span such as 90d or 13w; ConfigError for anything else."""
    found = re.fullmatch(r"([1-9]\d{0,4})([dw])", str(text))
    if not found:
        raise ConfigError(f"{setting}={text} is no span of time; write 90d or 13w")
    return int(found[1]) * {"d": 1, "w": 7}[found[2]]
