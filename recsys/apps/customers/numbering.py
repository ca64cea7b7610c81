"""Segments that keep their numbers and names from one run of the command to the next.

C customers, K segments.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.apps.customers.clustering import Clustering, by_centres, by_customers
from recsys.run import write_text

Array = np.ndarray
FILE = "segments.json"


@dataclass(frozen=True)
class Earlier:
    """What an earlier run left: its segments, and who was in which."""

    by: str
    space: str
    segments: list[dict[str, Any]]
    customers: pd.Series
    """number of the segment by raw id"""

    def matched(self, by: str, space: str, new: Clustering, users: list[str]) -> dict[int, dict[str, Any]]:
        """New segment → the earlier one that it goes on: by centres in the same space of features, else by shared
        customers `users` (C,); none where customers were seen otherwise.
        """
        if by != self.by:
            return {}
        if space == self.space:
            centres = np.array([segment["centre"] for segment in self.segments])
            return {a: self.segments[b] for a, b in by_centres(new, centres).items()}
        numbers = self.customers.reindex(users)
        both = numbers.notna().to_numpy()
        found = by_customers(new.labels[both], numbers[both].to_numpy(np.int64), len(new.centres))
        known = {segment["number"]: segment for segment in self.segments}
        return {a: known[number] for a, number in found.items()}


def earlier(folder: Path) -> Earlier | None:
    """What lies in a folder; None in a new one."""
    if not ((folder / FILE).exists() and (folder / "segments.parquet").exists()):
        return None
    content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    table = pd.read_parquet(folder / "segments.parquet", columns=["user", "segment"])
    return Earlier(**content, customers=table.set_index("user")["segment"])


def numbered(
    kept: dict[int, dict[str, Any]], order: Array, name: Callable[[list[str]], list[str]]
) -> list[tuple[int, str]]:
    """The number and name of each new segment: those of the earlier one that it goes on, else new ones in `order`
    (K,); `name` gives names for all, none of those that are kept.
    """
    used = [segment["number"] for segment in kept.values()]
    fresh = iter(number for number in range(1, 2 + len(order) + max(used, default=0)) if number not in used)
    names = name([segment["name"] for segment in kept.values()])
    found = {one: (kept[one]["number"], kept[one]["name"]) for one in kept}
    found |= {int(one): (next(fresh), names[one]) for one in order if one not in kept}
    return [found[one] for one in range(len(order))]


def remember(folder: Path, by: str, space: str, called: list[tuple[int, str]], centres: Array) -> None:
    """Leave what the next run needs, segments.parquet apart."""
    segments = [
        {"number": number, "name": name, "centre": centre}
        for (number, name), centre in zip(called, centres.tolist(), strict=True)
    ]
    write_text(folder / FILE, json.dumps({"by": by, "space": space, "segments": segments}, indent=1) + "\n")
