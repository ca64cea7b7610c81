"""The scores that a file must return, from torch and the dataset's own encoders, and random requests to compare them.

I items with padding.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsys.data.dataset import Dataset
from recsys.data.features import TIME_FEATURES, derive_time_feature
from recsys.export.graph import RawIds
from recsys.export.inputs import Column, read_columns
from recsys.models.base import Model, ModelInputs

SEPARATOR = "\x1f"
"""between the values of a cell, in this module only"""


@dataclass(frozen=True)
class CheckRequest:
    """One user's request in raw values, as `Recommender.recommend` takes them."""

    history: list[str]
    columns: dict[str, Any] = field(default_factory=dict)
    """a value for every input besides the history"""
    exclude_seen: bool = True
    deny: list[str] = field(default_factory=list)


class TorchReference:
    """Scores single requests by torch, with a model whose tables are rounded as the file stores them."""

    def __init__(self, model: Model, dataset: Dataset, raw_ids: RawIds, max_history: int | None) -> None:
        self.model, self.dataset, self.max_history = model, dataset, max_history
        self.columns = read_columns(dataset)
        self.item_numbers = {raw: number for number, raw in enumerate(raw_ids.items, start=1)}
        self.user_rows = dict(zip(raw_ids.users, raw_ids.user_rows, strict=True))
        self.targets: list[str] | None = dataset.metadata["target_events"]
        self.zone: str = dataset.metadata["zone"]

    @torch.inference_mode()
    def scores(self, request: CheckRequest, allow: list[str] | None) -> np.ndarray:
        """(I,) scores of all items, −inf for items that may not be recommended."""
        numbers = [self.item_numbers.get(raw, 0) for raw in request.history]
        positions = [position for position, number in enumerate(numbers) if number]
        if self.max_history is not None:
            positions = positions[-self.max_history :]
        history = torch.tensor([[numbers[position] for position in positions] or [0]])
        groups: dict[str, dict[str, Tensor]] = {"user": {}, "events": {}, "request": {}}
        for column in self.columns:
            groups[column.group] |= self._encode(column, request.columns, positions)
        inputs = ModelInputs(groups["user"], history, groups["events"], groups["request"])
        scores = self.model(inputs)[0].numpy().copy()
        hidden = self._list_hidden(request, numbers)
        if allow is not None:
            hidden += sorted(set(range(len(scores))) - {self.item_numbers.get(raw, 0) for raw in allow})
        scores[hidden] = -np.inf
        return scores

    def _list_hidden(self, request: CheckRequest, numbers: list[int]) -> list[int]:
        """Padding, denied items and, if they are excluded, seen ones."""
        hidden = [0, *(self.item_numbers.get(raw, 0) for raw in request.deny)]
        if request.exclude_seen:
            types = request.columns.get("history_event", [None] * len(numbers))
            events = zip(numbers, types, strict=True)
            hidden += [number for number, name in events if self.targets is None or name in self.targets]
        return hidden

    def _encode(self, column: Column, raw: dict[str, Any], positions: list[int]) -> dict[str, Tensor]:
        """A column at some positions of the history, and the codes derived from it if it is a time; a batch of one."""
        value = raw.get(column.input)
        if column.value_type == "id":
            return {"id": torch.tensor([self.user_rows.get(str(value), 0)])}
        cells = [value] if column.group != "events" else [value[position] for position in positions] if value else []
        arrays = self._encode_cells(column, cells or [None])
        tensors = {
            name: torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.int64))
            for name, array in arrays.items()
        }
        return tensors if column.group == "user" else {name: tensor[None] for name, tensor in tensors.items()}

    def _encode_cells(self, column: Column, cells: list[Any]) -> dict[str, np.ndarray]:
        if column.value_type == "time":
            seconds = np.array([cell or 0 for cell in cells], np.int64)
            derived = [name for name in self.dataset.encoders["context"] if name in TIME_FEATURES]
            codes = {name: derive_time_feature(name, seconds, self.zone)[:, None] for name in derived}
            return {"timestamp": seconds, **codes}
        assert column.encoder is not None
        texts = [SEPARATOR.join(cell) if isinstance(cell, list) else cell for cell in cells]
        dtype = float if column.value_type == "number" else object
        return {column.name: column.encoder.encode(pd.Series(texts, dtype=dtype), SEPARATOR)}


class RandomRequests:
    """Draws random requests.

    Histories are short, full, too long, empty or unknown and have repeats; features have unknown values and missing
    numbers.
    """

    def __init__(self, dataset: Dataset, raw_ids: RawIds, max_history: int | None, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.items, self.users, self.longest = list(raw_ids.items), list(raw_ids.users), max_history or 30
        self.columns = read_columns(dataset)
        self.now = int(dataset.timestamps.max()) if dataset.timestamps is not None else 0

    def draw(self, length: int | None = None) -> CheckRequest:
        """One request, with a history of this length (None: of a random one)."""
        if length is None:
            length = int(self.rng.choice([0, 1, 2, self.longest // 2, self.longest, self.longest + 7]))
        unknown = self.rng.choice([0.0, 0.2, 1.0], p=[0.5, 0.4, 0.1])
        history = [self._draw_item(unknown) for _ in range(length)]
        columns = {column.input: self._draw_column(column, length) for column in self.columns}
        deny = [self._draw_item(0.2) for _ in range(int(self.rng.integers(4)))]
        return CheckRequest(history, columns, bool(self.rng.integers(2)), deny)

    def draw_allowed(self) -> list[str] | None:
        """A list of allowed items, or None for all."""
        if self.rng.random() < 0.6:
            return None
        return [self._draw_item(0.2) for _ in range(int(self.rng.integers(1, 9)))]

    def _draw_item(self, unknown: float) -> str:
        """A raw id; one that the file does not know with the probability `unknown`."""
        if self.rng.random() < unknown:
            return str(self.rng.choice(["", "no such item", "é漢😀"]))
        return self.items[int(len(self.items) * self.rng.random() ** 3)]  # skewed, so that some repeat

    def _draw_column(self, column: Column, length: int) -> Any:
        if column.group != "events":
            return self._draw_cell(column, 0)
        return [self._draw_cell(column, length - position) for position in range(length)]

    def _draw_cell(self, column: Column, events_back: int) -> Any:
        if column.value_type == "id":
            return str(self.rng.choice([*self.users[:50], "nobody"]))
        if column.value_type == "time":
            return self.now - events_back * 40_000 + int(self.rng.integers(40_000)) - 40_000
        encoder = column.encoder
        assert encoder is not None
        if column.value_type == "number":
            return float("nan") if self.rng.random() < 0.2 else float(self.rng.normal(encoder.mean, encoder.deviation))
        cells = [str(self.rng.choice([*encoder.values[:50], "no such value"])) for _ in range(encoder.width)]
        return cells if encoder.width > 1 else cells[0]
