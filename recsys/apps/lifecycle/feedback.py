"""What customers made of the lists that they were shown: rolling N@10 of a log of feedback."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.errors import DataError

DAY = 86_400


@dataclass(frozen=True)
class Feedback:
    """(N,) the seconds at which lists were shown, oldest first, and the NDCG of each."""

    times: np.ndarray
    ndcg: np.ndarray

    @classmethod
    def read(cls, path: Path, k: int = 10) -> "Feedback":
        """From lines of JSON with `time` (seconds), `items` (the list, best first) and `taken` (ids that were chosen).
        DataError for a line that is none such.
        """
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                rows.append((float(row["time"]), ndcg(row["items"], row["taken"], k)))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"line {number:,} of '{path}' is no feedback with time, items, taken ({error})"
                ) from error
        if not rows:
            raise DataError(f"'{path}' holds no feedback")
        times, found = np.array(sorted(rows)).T
        return cls(times, found)

    def between(self, start: float, end: float) -> np.ndarray:
        """The values of one window."""
        return self.ndcg[(self.times >= start) & (self.times < end)]

    def rolling(self, days: float) -> list[tuple[float, float, int]]:
        """The end, the mean and the number of lists of each window of so many days that has any, the newest last."""
        end, found = self.times[-1] + 1, []
        while end > self.times[0]:
            values = self.between(end - days * DAY, end)
            if len(values):
                found.append((end, float(values.mean()), len(values)))
            end -= days * DAY
        return found[::-1]


def ndcg(items: list[Any], taken: list[Any] | Any, k: int = 10) -> float:
    """NDCG of one list for the ids that were taken; 0 where none was."""
    wanted = {str(item) for item in (taken if isinstance(taken, list) else [taken]) if item is not None}
    gain = 1 / np.log2(np.arange(2, k + 2))
    hits = [str(item) in wanted for item in items[:k]]
    ideal = gain[: len(wanted)].sum()
    return float(gain[: len(hits)][np.array(hits, dtype=bool)].sum() / ideal) if wanted else 0.0
