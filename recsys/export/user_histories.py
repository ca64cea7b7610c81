"""Whole histories, features and ids of a dataset's users, as raw values that `Recommender.recommend` takes."""

from collections.abc import Collection
from typing import Any

import numpy as np

from recsys.data.batches.batch import ColumnReader
from recsys.data.dataset import Dataset
from recsys.export.inputs import read_columns


class UserHistories:
    """Reads the requests of a dataset's users for a file with certain `inputs`."""

    def __init__(self, dataset: Dataset, inputs: Collection[str]) -> None:
        self.dataset, self.reader = dataset, ColumnReader(dataset)
        columns = [column for column in read_columns(dataset) if column.group != "request"]
        self.columns = [column for column in columns if column.input in inputs]
        self.raw_items = np.array(["", *map(str, dataset.raw_items().to_pylist())], object)
        self.user_numbers = {str(raw): number for number, raw in enumerate(dataset.raw_users().to_pylist())}

    def read(self, user: str, until: int | None = None) -> dict[str, Any]:
        """A user's inputs by name, from the events before the second `until` (None: from all events).

        The history of a user who is not in the dataset is empty.
        """
        number = self.user_numbers.get(user)
        if number is None:
            return {"history": []}
        first, last = self.dataset.offsets[number : number + 2]
        if until is not None and self.dataset.timestamps is not None:
            last = first + np.searchsorted(self.dataset.timestamps[first:last], until)
        index = np.arange(first, last)[None, :]
        events = self.reader.events(index, np.ones(index.shape, bool))
        values = {"events": events, "user": self.reader.user(np.array([number]))}
        inputs: dict[str, Any] = {"history": self.raw_items[self.dataset.items[first:last]].tolist()}
        for column in self.columns:
            is_id = column.value_type == "id"
            inputs[column.input] = user if is_id else column.decode(values[column.group][column.name])[0]
        return inputs
