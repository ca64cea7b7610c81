"""What a file must answer, worked out plainly: one request at a time, by the dataset's own encoders and torch."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsys.data.dataset import Dataset
from recsys.data.features import TIME_FEATURES, derive_time_feature
from recsys.export.graph import Words
from recsys.export.inputs import Column, columns_of
from recsys.models.base import Model, ModelInputs

SEPARATOR = "\x1f"
"""between the values of a cell, here only"""


@dataclass(frozen=True)
class Request:
    """One user's question, in the words of `Recommender.recommend`."""

    history: list[str]
    columns: dict[str, Any] = field(default_factory=dict)
    """a value for every input beside the history"""
    exclude_seen: bool = True
    deny: list[str] = field(default_factory=list)


class Reference:
    """Scores of a model whose tables are as the file stores them."""

    def __init__(self, model: Model, dataset: Dataset, words: Words, max_history: int | None) -> None:
        self.model, self.dataset, self.max_history = model, dataset, max_history
        self.columns = columns_of(dataset)
        self.number = {raw: n for n, raw in enumerate(words.items, start=1)}
        self.user_row = dict(zip(words.users, words.user_rows, strict=True))
        self.targets: list[str] | None = dataset.metadata["target_events"]
        self.zone: str = dataset.metadata["zone"]

    @torch.inference_mode()
    def scores(self, request: Request, allow: list[str] | None) -> np.ndarray:
        """(I,) scores of all items, −inf for what may not be recommended."""
        numbers = [self.number.get(raw, 0) for raw in request.history]
        kept = [place for place, number in enumerate(numbers) if number]
        if self.max_history is not None:
            kept = kept[-self.max_history :]
        history = torch.tensor([[numbers[place] for place in kept] or [0]])
        parts: dict[str, dict[str, Tensor]] = {"user": {}, "events": {}, "request": {}}
        for column in self.columns:
            parts[column.part] |= self._values(column, request.columns, kept)
        inputs = ModelInputs(parts["user"], history, parts["events"], parts["request"])
        found = self.model(inputs)[0].numpy().copy()
        hidden = [0, *(self.number.get(raw, 0) for raw in request.deny)]
        if request.exclude_seen:
            types = request.columns.get("history_event", [None] * len(numbers))
            hidden += [
                n for n, kind in zip(numbers, types, strict=True) if self.targets is None or kind in self.targets
            ]
        if allow is not None:
            hidden += sorted(set(range(len(found))) - {self.number.get(raw, 0) for raw in allow})
        found[hidden] = -np.inf
        return found

    def _values(self, column: Column, given: dict[str, Any], kept: list[int]) -> dict[str, Tensor]:
        """The column, and what the clock tells where it is a time, as a batch of one has them."""
        value = given.get(column.input)
        if column.kind == "id":
            return {"id": torch.tensor([self.user_row.get(str(value), 0)])}
        cells = [value] if column.part != "events" else [value[place] for place in kept] if value else []
        padded = cells or [None]
        if column.kind == "time":
            seconds = np.array([cell or 0 for cell in padded], np.int64)
            derived = [name for name in self.dataset.encoders["context"] if name in TIME_FEATURES]
            clock = {name: derive_time_feature(name, seconds, self.zone)[:, None] for name in derived}
            arrays = {"timestamp": seconds, **clock}
        else:
            assert column.encoder is not None
            joined = [SEPARATOR.join(cell) if isinstance(cell, list) else cell for cell in padded]
            kind = float if column.kind == "number" else object
            arrays = {column.name: column.encoder.encode(pd.Series(joined, dtype=kind), SEPARATOR)}
        tensors = {name: torch.from_numpy(array if array.dtype.kind == "f" else array.astype(np.int64))
                   for name, array in arrays.items()}  # fmt: skip
        return tensors if column.part == "user" else {name: tensor[None] for name, tensor in tensors.items()}


class Drawn:
    """Requests drawn at random from the vocabulary: short, full, over-long, empty and unknown histories, repeats,
    values that no one has seen, numbers that are missing.
    """

    def __init__(self, dataset: Dataset, words: Words, max_history: int | None, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.items, self.users, self.longest = list(words.items), list(words.users), max_history or 30
        self.columns = columns_of(dataset)
        self.now = int(dataset.timestamps.max()) if dataset.timestamps is not None else 0

    def request(self, length: int | None = None) -> Request:
        """One request, of a history as long as asked or of any length."""
        if length is None:
            length = int(self.rng.choice([0, 1, 2, self.longest // 2, self.longest, self.longest + 7]))
        unknown = self.rng.choice([0.0, 0.2, 1.0], p=[0.5, 0.4, 0.1])
        history = [self._item(unknown) for _ in range(length)]
        columns = {column.input: self._value(column, length) for column in self.columns}
        deny = [self._item(0.2) for _ in range(int(self.rng.integers(4)))]
        return Request(history, columns, bool(self.rng.integers(2)), deny)

    def allowed(self) -> list[str] | None:
        """A list of allowed items, or None."""
        if self.rng.random() < 0.6:
            return None
        return [self._item(0.2) for _ in range(int(self.rng.integers(1, 9)))]

    def _item(self, unknown: float) -> str:
        if self.rng.random() < unknown:
            return str(self.rng.choice(["", "no such item", "é漢😀"]))
        return self.items[int(len(self.items) * self.rng.random() ** 3)]  # so that some repeat

    def _value(self, column: Column, length: int) -> Any:
        if column.part != "events":
            return self._cell(column, 0)
        return [self._cell(column, length - place) for place in range(length)]

    def _cell(self, column: Column, back: int) -> Any:
        if column.kind == "id":
            return str(self.rng.choice([*self.users[:50], "nobody"]))
        if column.kind == "time":
            return self.now - back * 40_000 + int(self.rng.integers(40_000)) - 40_000
        encoder = column.encoder
        assert encoder is not None
        if column.kind == "number":
            return float("nan") if self.rng.random() < 0.2 else float(self.rng.normal(encoder.mean, encoder.deviation))
        cells = [str(self.rng.choice([*encoder.values[:50], "no such value"])) for _ in range(encoder.width)]
        return cells if encoder.width > 1 else cells[0]
