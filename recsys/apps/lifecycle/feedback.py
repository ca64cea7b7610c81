"""What customers chose from the lists that they were shown: rolling NDCG@10 of a feedback log."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.errors import DataError

DAY = 86_400


@dataclass(frozen=True)
class Feedback:
    """(N,) the second at which each list was shown, oldest first, and (N,) the NDCG of each list."""

    times: np.ndarray
    ndcg: np.ndarray

    @classmethod
    def read(cls, path: Path, k: int = 10) -> "Feedback":
        """Reads JSON lines with `time` (seconds), `items` (the list, best first) and `taken` (the chosen ids).

        Raises DataError for a line that cannot be read this way.
        """
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                rows.append((float(row["time"]), compute_list_ndcg(row["items"], row["taken"], k)))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"line {number:,} of '{path}' is not feedback with time, items, taken ({error})"
                ) from error
        if not rows:
            raise DataError(f"'{path}' contains no feedback")
        times, values = np.array(sorted(rows)).T
        return cls(times, values)

    def between(self, start: float, end: float) -> np.ndarray:
        """Returns the NDCG of the lists shown from `start` up to, but not including, `end`."""
        return self.ndcg[(self.times >= start) & (self.times < end)]

    def rolling_means(self, days: float) -> list[tuple[float, float, int]]:
        """Returns the end, the mean NDCG and the number of lists of each window of `days` that has any, newest last."""
        end, windows = self.times[-1] + 1, []
        while end > self.times[0]:
            values = self.between(end - days * DAY, end)
            if len(values):
                windows.append((end, float(values.mean()), len(values)))
            end -= days * DAY
        return windows[::-1]


def compute_list_ndcg(items: list[Any], chosen: list[Any] | Any, k: int = 10) -> float:
    """Returns the NDCG of one list for the chosen ids; 0 where none was chosen."""
    targets = {str(item) for item in (chosen if isinstance(chosen, list) else [chosen]) if item is not None}
    gain = 1 / np.log2(np.arange(2, k + 2))
    hits = [str(item) in targets for item in items[:k]]
    ideal = gain[: len(targets)].sum()
    return float(gain[: len(hits)][np.array(hits, dtype=bool)].sum() / ideal) if targets else 0.0
