"""The page on segments: a table of those that are large enough to be published, and what each favours.

C customers, K segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.apps.customers.purchases import Ledger, Standing
from recsys.apps.customers.segment_names import favourites
from recsys.data.features import align_rows

Array = np.ndarray


@dataclass(frozen=True)
class Profile:
    """What the customers of a segment are like; means, but for the median of the days."""

    customers: int
    share: float
    share_of_spend: float
    days: float
    """since the last order"""
    orders: float
    spend: float
    values: dict[str, list[tuple[str, float]]]
    """by column what stands out, with its lift"""

    @property
    def favourite(self) -> str:
        """The value of the items that stands out most; empty where nothing is known."""
        found = [values for name, values in self.values.items() if name.startswith("item.") and values]
        return found[0][0][0] if found else ""


def profiles(ledger: Ledger, standing: Standing, labels: Array, k: int, fewest: int) -> list[Profile]:
    """One for each of `k` segments; values are those of the columns that data.features names."""
    values = _values(ledger, standing, labels, k, fewest)
    total = max(float(standing.spend.sum()), 1e-9)
    found = []
    for one in range(k):
        own = standing.of(labels == one)
        found.append(
            Profile(
                customers=len(own.customers),
                share=len(own.customers) / len(labels),
                share_of_spend=float(own.spend.sum()) / total,
                days=float(np.median(own.today - own.last)),
                orders=float(own.orders.mean()),
                spend=float(own.spend.mean()),
                values={column: each[one] for column, each in values.items()},
            )
        )
    return found


def _values(
    ledger: Ledger, standing: Standing, labels: Array, k: int, fewest: int
) -> dict[str, list[list[tuple[str, float]]]]:
    """By column, such as user.age, what stands out in each segment: of customers, or of the lines that they bought."""
    label = np.full(len(ledger.users), -1)
    label[standing.customers] = labels
    found = {}
    for kind, table in ledger.side.items():
        people, rows = standing.customers, standing.customers
        if kind == "item":
            lines = ledger.lines[(label[ledger.lines["user"]] >= 0) & (ledger.lines["day"] <= standing.today)]
            people, rows = lines["user"].to_numpy(), lines["item"].to_numpy()
        own = align_rows(table, ledger.users if kind == "user" else ledger.items, kind)
        for name, column in own.items():
            found[f"{kind}.{name}"] = favourites(column, rows, label[people], people, k, fewest)
    return found


def lines(
    ledger: Ledger,
    called: Sequence[tuple[int, str]],
    about: Sequence[Profile],
    later: Sequence[float],
    fewest: int,
    said: Sequence[str],
) -> list[str]:
    """Markdown: a row a segment of at least `fewest` customers, the one that spent most first; `later` is what those
    who were in it at the cut spent on average since, `said` ends the page.
    """
    money = ledger.unit
    heads = ["", "segment", "customers", "share", f"share of {money}", "days since", "orders", money, f"later {money}"]
    shown = [one for one in np.argsort([-profile.spend for profile in about]) if about[one].customers >= fewest]
    table = [heads, ["---"] * len(heads)]
    for one in shown:
        profile, (number, name) = about[one], called[one]
        table.append(
            [
                *(str(number), name, f"{profile.customers:,}", f"{profile.share:.1%}", f"{profile.share_of_spend:.1%}"),
                *(f"{profile.days:,.0f}", f"{profile.orders:,.1f}", f"{profile.spend:,.2f}", f"{later[one]:,.2f}"),
            ]
        )
    rows = [f"| {' | '.join(cells)} |" for cells in table]
    notes = [f"- {called[one][1]}: {text}" for one in shown if (text := _spoken(about[one]))]
    fewer = len(about) - len(shown)
    hidden = [f"{fewer} segments of fewer than {fewest} customers are not shown."] if fewer else []
    return ["# Segments", "", *rows, "", *notes, *([""] if notes else []), *said, *hidden]


def _spoken(profile: Profile) -> str:
    """What stands out, column by column, such as "user.age 65+ (× 1.4)"."""
    return "; ".join(
        f"{column} " + ", ".join(f"{value} (× {lift:.1f})" for value, lift in values)
        for column, values in profile.values.items()
        if values
    )
