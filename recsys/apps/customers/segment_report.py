"""The page on segments: a table of those that are large enough to publish, and the values that each prefers.

C customers, K segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.apps.customers.numbering import NumberedNames
from recsys.apps.customers.purchases import OrderSummary, Purchases
from recsys.apps.customers.segment_names import find_favourites
from recsys.data.features import align_rows

Array = np.ndarray
Favourites = list[tuple[str, float]]
"""values with their lift"""


@dataclass(frozen=True)
class SegmentProfile:
    """A description of the customers of a segment; `days_since` is a median, `orders` and `spend` are means."""

    customers: int
    share_of_customers: float
    share_of_spend: float
    days_since: float
    """days since the last order"""
    orders: float
    spend: float
    favourites: dict[str, Favourites]
    """by column, such as user.age"""

    @property
    def favourite_item_value(self) -> str:
        """The item value with the highest lift in the first column that has one; empty where there is none."""
        lists = [values for column, values in self.favourites.items() if column.startswith("item.") and values]
        return lists[0][0][0] if lists else ""


def profile_segments(
    purchases: Purchases, customers: OrderSummary, labels: Array, k: int, min_customers: int
) -> list[SegmentProfile]:
    """The profile of each of `k` segments; favourites are those of the columns that data.features names."""
    favourites = _find_all_favourites(purchases, customers, labels, k, min_customers)
    total = max(float(customers.spend.sum()), 1e-9)
    profiles = []
    for segment in range(k):
        members = customers.select(labels == segment)
        profiles.append(
            SegmentProfile(
                customers=len(members.numbers),
                share_of_customers=len(members.numbers) / len(labels),
                share_of_spend=float(members.spend.sum()) / total,
                days_since=float(np.median(members.today - members.last)),
                orders=float(members.orders.mean()),
                spend=float(members.spend.mean()),
                favourites={column: by_segment[segment] for column, by_segment in favourites.items()},
            )
        )
    return profiles


def _find_all_favourites(
    purchases: Purchases, customers: OrderSummary, labels: Array, k: int, min_customers: int
) -> dict[str, list[Favourites]]:
    """By column, such as user.age, the favourites of each segment: values of its customers, or of the items that they
    bought, counted by line.
    """
    label_of_user = np.full(len(purchases.users), -1)
    label_of_user[customers.numbers] = labels
    favourites = {}
    for table_name, table in purchases.side_tables.items():
        users, rows = customers.numbers, customers.numbers
        if table_name == "item":
            is_member = label_of_user[purchases.lines["user"]] >= 0
            lines = purchases.lines[is_member & (purchases.lines["day"] <= customers.today)]
            users, rows = lines["user"].to_numpy(), lines["item"].to_numpy()
        table = align_rows(table, purchases.users if table_name == "user" else purchases.items, table_name)
        for name, column in table.items():
            favourites[f"{table_name}.{name}"] = find_favourites(
                column, rows, label_of_user[users], users, k, min_customers
            )
    return favourites


def render_segment_page(
    purchases: Purchases,
    numbered: NumberedNames,
    profiles: Sequence[SegmentProfile],
    later_spend: Sequence[float],
    min_customers: int,
    conclusions: Sequence[str],
) -> list[str]:
    """Lines of Markdown: a row for each segment of at least `min_customers` customers, highest mean spend first, their
    favourites, and the `conclusions`; `later_spend` (K,) is the mean spend after the cut.
    """
    by_spend = np.argsort([-profile.spend for profile in profiles])
    published = [segment for segment in by_spend if profiles[segment].customers >= min_customers]
    rows = [_format_row(numbered[segment], profiles[segment], later_spend[segment]) for segment in published]
    notes = [
        f"- {numbered[segment][1]}: {text}" for segment in published if (text := _format_favourites(profiles[segment]))
    ]
    n_hidden = len(profiles) - len(published)
    noun, verb = ("segment", "is") if n_hidden == 1 else ("segments", "are")
    hidden = [f"{n_hidden} {noun} of fewer than {min_customers} customers {verb} not shown."] if n_hidden else []
    table = _format_table(purchases.money_label, rows)
    if notes:
        notes = ["Values that are more frequent in a segment than among all customers (× how often):", "", *notes, ""]
    return ["# Segments", "", *table, "", *notes, *conclusions, *hidden]


def _format_row(numbered: tuple[int, str], profile: SegmentProfile, later_spend: float) -> list[str]:
    return [
        *map(str, numbered),
        f"{profile.customers:,}",
        f"{profile.share_of_customers:.1%}",
        f"{profile.share_of_spend:.1%}",
        f"{profile.days_since:,.0f}",
        f"{profile.orders:,.1f}",
        f"{profile.spend:,.2f}",
        f"{later_spend:,.2f}",
    ]


def _format_table(money: str, rows: list[list[str]]) -> list[str]:
    head = ["", "segment", "customers", "share of customers", f"share of {money}", "days since last order (median)"]
    head += ["orders (mean)", f"{money} (mean)", f"later {money} (mean)"]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _format_favourites(profile: SegmentProfile) -> str:
    """The favourites column by column, such as "user.age 65+ (× 1.4)"."""
    return "; ".join(
        f"{column} " + ", ".join(f"{value} (× {lift:.1f})" for value, lift in values)
        for column, values in profile.favourites.items()
        if values
    )
