"""Numbers and names of segments, which stay the same from one run of the command to the next.

C customers, K segments.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.apps.customers.clustering import Clustering, match_by_centres, match_by_customers
from recsys.run import write_text

Array = np.ndarray
FILE = "segments.json"
NumberedNames = list[tuple[int, str]]
"""the number and the name of each segment"""


@dataclass(frozen=True)
class EarlierSegments:
    """The segments of an earlier run of the command, and their customers; the fields are those of segments.json."""

    by: str
    space: str
    segments: list[dict[str, Any]]
    customers: pd.Series
    """number of the segment by raw id"""

    def match(self, by: str, space: str, clustering: Clustering, users: list[str]) -> dict[int, dict[str, Any]]:
        """New segment → the earlier segment that it continues: by centres where the features are of the same space,
        else by the customers `users` (C,) that they share; empty where the segments were built `by` something else.
        """
        if by != self.by:
            return {}
        if space == self.space:
            centres = np.array([segment["centre"] for segment in self.segments])
            return {new: self.segments[old] for new, old in match_by_centres(clustering, centres).items()}
        numbers = self.customers.reindex(users)
        in_both = numbers.notna().to_numpy()
        old_labels = numbers[in_both].to_numpy(np.int64)
        matches = match_by_customers(clustering.labels[in_both], old_labels, len(clustering.centres))
        by_number = {segment["number"]: segment for segment in self.segments}
        return {new: by_number[number] for new, number in matches.items()}


def load_earlier_segments(folder: Path) -> EarlierSegments | None:
    """The segments in a folder; None where it has none."""
    if not ((folder / FILE).exists() and (folder / "segments.parquet").exists()):
        return None
    content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    table = pd.read_parquet(folder / "segments.parquet", columns=["user", "segment"])
    return EarlierSegments(**content, customers=table.set_index("user")["segment"])


def number_segments(
    continued: dict[int, dict[str, Any]], order: Array, name: Callable[[list[str]], list[str]]
) -> NumberedNames:
    """The number and name of each new segment: those of the earlier segment that it continues, else unused numbers in
    `order` (K,). `name` maps the names that are taken to new names for all segments.
    """
    used = [segment["number"] for segment in continued.values()]
    fresh = iter(number for number in range(1, 2 + len(order) + max(used, default=0)) if number not in used)
    names = name([segment["name"] for segment in continued.values()])
    numbered = {segment: (earlier["number"], earlier["name"]) for segment, earlier in continued.items()}
    numbered |= {int(segment): (next(fresh), names[segment]) for segment in order if segment not in continued}
    return [numbered[segment] for segment in range(len(order))]


def save_segments(folder: Path, by: str, space: str, numbered: NumberedNames, centres: Array) -> None:
    """Write segments.json, from which the next run of the command continues the segments."""
    segments = [
        {"number": number, "name": name, "centre": centre}
        for (number, name), centre in zip(numbered, centres.tolist(), strict=True)
    ]
    write_text(folder / FILE, json.dumps({"by": by, "space": space, "segments": segments}, indent=1) + "\n")
