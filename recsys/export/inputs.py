"""Inputs of a model besides the history: columns of the user, of past events and of the request."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from recsys.data.dataset import Dataset
from recsys.data.features import TIME_FEATURES, Encoder
from recsys.errors import ConfigError

RESERVED_NAMES = {
    "history",
    "k",
    "exclude_seen",
    "deny",
    "allow",
    "user",
    "items",
    "scores",
    "known",
    "recognised",
    "manifest",
}
EVENT_INPUT = "history_event"
LAST_YEAR = 2100
"""the year up to which a file knows the shifts of a time zone"""


@dataclass(frozen=True)
class Column:
    """One column of a batch, which becomes one input of the graph."""

    group: str
    """user, events or request"""
    name: str
    """its name in that group"""
    value_type: str
    """id, time, category or number"""
    encoder: Encoder | None = None
    default: str = ""
    """the text that stands in for a missing one"""

    @property
    def input(self) -> str:
        """The name of the graph's input."""
        if self.value_type == "id":
            return "user"
        return f"history_{self.name}" if self.group == "events" else self.name

    @property
    def width(self) -> int:
        """The number of values per cell."""
        return self.encoder.width if self.encoder else 1

    @property
    def dims(self) -> list[str | int]:
        """The shape of the input."""
        slots: list[str | int] = ["batch", "length"] if self.group == "events" else ["batch"]
        return [*slots, self.width] if self.width > 1 else slots

    @property
    def dtype(self) -> type:
        """The NumPy type of the input."""
        return {"time": np.int64, "number": np.float64}.get(self.value_type, np.object_)

    def describe(self) -> dict[str, Any]:
        """The entry of the input in the manifest."""
        entity = {"user": "user", "events": "event", "request": "request"}[self.group]
        input_type, default, meaning = {
            "id": ("string", "", "raw id of the user; unknown ones are answered by their history alone"),
            "time": (
                "int64",
                "timestamp" if entity == "event" else "now",
                f"seconds since 1970 UTC of the {entity}",
            ),
            "category": (
                "string",
                self.default,
                f"{self.name} of the {entity} as text; unknown values count as missing",
            ),
            "number": ("double", None, f"{self.name} of the {entity}; NaN where missing"),
        }[self.value_type]
        return {"type": input_type, "shape": self.dims, "default": default, "of": entity, "meaning": meaning}

    def decode(self, coded: np.ndarray) -> list[Any]:
        """The raw values of coded ones (…, W) or of times (…)."""
        if self.encoder is None:
            return coded.tolist()
        if self.value_type == "number":
            return (coded[..., 0] * self.encoder.deviation + self.encoder.mean).tolist()
        text = np.array(["", *self.encoder.values], object)[coded]
        return (text if self.width > 1 else text[..., 0]).tolist()


def read_columns(dataset: Dataset) -> list[Column]:
    """The columns that models of a dataset may read; ConfigError if two inputs would have the same name."""
    columns = [Column("user", "id", "id")]
    columns += [Column("user", name, e.kind, e) for name, e in dataset.encoders["user"].items()]
    for group in ("events", "request"):
        if dataset.timestamps is not None:
            columns.append(Column(group, "timestamp", "time"))
        if group == "events" and dataset.event is not None:
            columns.append(Column(group, "event", "category", dataset.event, dataset.metadata["target_events"][0]))
        context = {name: e for name, e in dataset.encoders["context"].items() if name not in TIME_FEATURES}
        columns += [Column(group, name, e.kind, e) for name, e in context.items()]
    names = [column.input for column in columns]
    for column in columns[1:]:
        if names.count(column.input) > 1 or column.input in RESERVED_NAMES:
            raise ConfigError(f"two inputs of the file would be called '{column.input}'; rename that column")
    return columns


class CalendarEncoder(nn.Module):
    """Local hours, weekdays, months and seasons of times in seconds since 1970, as codes from 1."""

    def __init__(self, zone: str) -> None:
        super().__init__()
        since, shift = ([0], [0, 0]) if zone == "UTC" else _find_shifts(zone)
        self.has_shifts = any(shift)
        self.register_buffer("since", torch.tensor(since))
        self.register_buffer("shift", torch.tensor(shift))
        self.since: Tensor
        self.shift: Tensor

    @override
    def forward(self, name: str, seconds: Tensor) -> Tensor:
        """(…, 1) codes of `hour`, `weekday` (Monday first), `month` or `season` (December to February first)."""
        local = seconds
        if self.has_shifts:
            local = seconds + self.shift[(seconds[..., None] >= self.since).sum(dim=-1)]
        clock = local % 86_400
        day = (local - clock) // 86_400
        month = _to_month(day)
        codes = {"hour": clock // 3600, "weekday": (day + 3) % 7, "month": month, "season": (month + 1) % 12 // 3}
        return (codes[name] + 1)[..., None]


def _to_month(day: Tensor) -> Tensor:
    """The month, from 0, of days since 1970, by integer arithmetic.

    Years start in March here, so that the leap day is the last.
    """
    era_day = (day + 719_468) % 146_097  # an era has 400 years; its day 0 is 1 March of the year 0
    year = (era_day - era_day // 1460 + era_day // 36_524 - era_day // 146_096) // 365
    year_day = era_day - (365 * year + year // 4 - year // 100)
    return ((5 * year_day + 2) // 153 + 2) % 12


def _find_shifts(zone: str) -> tuple[list[int], list[int]]:
    """The times at which a zone's offset from UTC changes, and the offsets before, between and after; in seconds."""
    days = np.arange(0, (LAST_YEAR - 1970) * 366) * 86_400
    offset = {int(t): _read_offset(zone, int(t)) for t in days}
    since, shift = [], [offset[0]]
    for start in days[:-1].tolist():
        if offset[start] != offset[start + 86_400]:
            low, high = start, start + 86_400
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _read_offset(zone, middle) == offset[start] else (low, middle)
            since.append(high)
            shift.append(offset[start + 86_400])
    return since or [0], shift if since else shift * 2


def _read_offset(zone: str, seconds: int) -> int:
    local = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone))
    return int(local.utcoffset().total_seconds())  # type: ignore[union-attr]


class Standardizer(nn.Module):
    """Raw float64 numbers (…) standardized as in training, float32 (…, 1); 0 where they are missing."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.mean, self.deviation = encoder.mean, encoder.deviation

    @override
    def forward(self, numbers: Tensor) -> Tensor:
        scaled = (numbers - self.mean) / self.deviation
        return torch.where(torch.isfinite(numbers), scaled, 0.0).float()[..., None]
