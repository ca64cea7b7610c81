"""What a model may be told besides the history: columns of the user, of past events and of the request.

N rows of any shape, W values a cell.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import torch
from torch import Tensor, nn

from recsys.data.dataset import Dataset
from recsys.data.features import TIME_FEATURES, Encoder
from recsys.errors import ConfigError

TAKEN = {"history", "k", "exclude_seen", "deny", "allow", "user", "items", "scores", "known", "recognised", "manifest"}
EVENT = "history_event"
LAST_YEAR = 2100
"""until when the shifts of a time zone are written down"""


@dataclass(frozen=True)
class Column:
    """One column: the part of a batch that it belongs to (user, events, request), its name there and its kind
    (id, time, category, number).
    """

    part: str
    name: str
    kind: str
    encoder: Encoder | None = None
    default: str = ""
    """what a text is taken for that is not given"""

    @property
    def input(self) -> str:
        """The name of the graph's input."""
        if self.kind == "id":
            return "user"
        return f"history_{self.name}" if self.part == "events" else self.name

    @property
    def width(self) -> int:
        """How many values a cell holds."""
        return self.encoder.width if self.encoder else 1

    @property
    def dims(self) -> list[str | int]:
        """The shape of the input."""
        slots: list[str | int] = ["batch", "length"] if self.part == "events" else ["batch"]
        return [*slots, self.width] if self.width > 1 else slots

    @property
    def dtype(self) -> type:
        """NumPy's type of the input."""
        return {"time": np.int64, "number": np.float64}.get(self.kind, np.object_)

    def describe(self) -> dict[str, Any]:
        """What the manifest says of the input."""
        of = {"user": "user", "events": "event", "request": "request"}[self.part]
        kind, default, meaning = {
            "id": ("string", "", "raw id of the user; unknown ones are answered by their history alone"),
            "time": (
                "int64",
                "timestamp" if of == "event" else "now",
                f"seconds since 1970 UTC of the {of}",
            ),
            "category": ("string", self.default, f"{self.name} of the {of} as text; unknown values count as missing"),
            "number": ("double", None, f"{self.name} of the {of}; NaN where missing"),
        }[self.kind]
        return {"type": kind, "shape": self.dims, "default": default, "of": of, "meaning": meaning}

    def spoken(self, coded: np.ndarray) -> list[Any]:
        """Coded values (…, W), or times, in the words of the source."""
        if self.encoder is None:
            return coded.tolist()
        if self.kind == "number":
            return (coded[..., 0] * self.encoder.deviation + self.encoder.mean).tolist()
        text = np.array(["", *self.encoder.values], object)[coded]
        return (text if self.width > 1 else text[..., 0]).tolist()


def columns_of(dataset: Dataset) -> list[Column]:
    """Every column that models of this dataset are given; ConfigError if a name cannot be an input's."""
    found = [Column("user", "id", "id")]
    found += [Column("user", name, e.kind, e) for name, e in dataset.encoders["user"].items()]
    for part in ("events", "request"):
        if dataset.timestamps is not None:
            found.append(Column(part, "timestamp", "time"))
        if part == "events" and dataset.event is not None:
            found.append(Column(part, "event", "category", dataset.event, dataset.metadata["target_events"][0]))
        brought = {name: e for name, e in dataset.encoders["context"].items() if name not in TIME_FEATURES}
        found += [Column(part, name, e.kind, e) for name, e in brought.items()]
    names = [column.input for column in found]
    for column in found[1:]:
        if names.count(column.input) > 1 or column.input in TAKEN:
            raise ConfigError(f"two inputs of the file would be called '{column.input}'; rename that column")
    return found


class Clock(nn.Module):
    """Local hours, weekdays, months and seasons of times in seconds, as codes from 1."""

    def __init__(self, zone: str) -> None:
        super().__init__()
        since, shift = ([0], [0, 0]) if zone == "UTC" else _shifts(zone)
        self.moves = any(shift)
        self.register_buffer("since", torch.tensor(since))
        self.register_buffer("shift", torch.tensor(shift))
        self.since: Tensor
        self.shift: Tensor

    def forward(self, name: str, seconds: Tensor) -> Tensor:
        """(…, 1) codes of `hour`, `weekday` (Monday first), `month` or `season` (December to February first)."""
        local = seconds
        if self.moves:
            local = seconds + self.shift[(seconds[..., None] >= self.since).sum(dim=-1)]
        clock = local % 86_400
        day = (local - clock) // 86_400
        month = _month(day)
        parts = {"hour": clock // 3600, "weekday": (day + 3) % 7, "month": month, "season": (month + 1) % 12 // 3}
        return (parts[name] + 1)[..., None]


def _month(day: Tensor) -> Tensor:
    """The month, from 0, of days since 1970, whole numbers throughout: years start in March, so that the leap day
    is the last.
    """
    of_era = (day + 719_468) % 146_097  # 400 years; day 0 is 1 March of the year 0
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return ((5 * of_year + 2) // 153 + 2) % 12


def _shifts(zone: str) -> tuple[list[int], list[int]]:
    """When a zone's distance from UTC changed, and the distances before, between and after, in seconds."""
    days = np.arange(0, (LAST_YEAR - 1970) * 366) * 86_400
    offset = {int(t): _offset(zone, int(t)) for t in days}
    since, shift = [], [offset[0]]
    for start in days[:-1].tolist():
        if offset[start] != offset[start + 86_400]:
            low, high = start, start + 86_400
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == offset[start] else (low, middle)
            since.append(high)
            shift.append(offset[start + 86_400])
    return since or [0], shift if since else shift * 2


def _offset(zone: str, seconds: int) -> int:
    moment = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone))
    return int(moment.utcoffset().total_seconds())  # type: ignore[union-attr]


class Standardise(nn.Module):
    """Raw numbers as the model learned them: 0 where they are missing."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.mean, self.deviation = encoder.mean, encoder.deviation

    def forward(self, numbers: Tensor) -> Tensor:
        """(…, 1) float32 of float64."""
        scaled = (numbers - self.mean) / self.deviation
        return torch.where(torch.isfinite(numbers), scaled, 0.0).float()[..., None]
