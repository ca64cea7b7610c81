"""What a prepared dataset knows of its users, in the words of its source: whole histories, features, ids."""

from collections.abc import Collection
from typing import Any

import numpy as np

from recsys.data.batches.batch import ColumnReader
from recsys.data.dataset import Dataset
from recsys.export.inputs import columns_of


class Past:
    """Questions of users of a dataset, for a file with these inputs."""

    def __init__(self, dataset: Dataset, inputs: Collection[str]) -> None:
        self.dataset, self.reader = dataset, ColumnReader(dataset)
        known = [column for column in columns_of(dataset) if column.part != "request"]
        self.columns = [column for column in known if column.input in inputs]
        self.raw_items = np.array(["", *map(str, dataset.raw_items().to_pylist())], object)
        self.number = {str(raw): number for number, raw in enumerate(dataset.raw_users().to_pylist())}

    def of(self, user: str, until: int | None = None) -> dict[str, Any]:
        """A user's inputs by name, of events before a second where one is given; an empty history for whom the dataset
        does not know.
        """
        number = self.number.get(user)
        if number is None:
            return {"history": []}
        first, last = self.dataset.offsets[number : number + 2]
        if until is not None and self.dataset.timestamps is not None:
            last = first + np.searchsorted(self.dataset.timestamps[first:last], until)
        index = np.arange(first, last)[None, :]
        events = self.reader.events(index, np.ones(index.shape, bool))
        parts = {"events": events, "user": self.reader.user(np.array([number]))}
        found: dict[str, Any] = {"history": self.raw_items[self.dataset.items[first:last]].tolist()}
        for column in self.columns:
            own = column.kind == "id"
            found[column.input] = user if own else column.spoken(parts[column.part][column.name])[0]
        return found
