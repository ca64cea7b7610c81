"""Items that are new since training, as rows behind the trained items.

I items with padding, N new ones, W codes per item.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
from typing_extensions import override

from recsys.data.dataset import Array, Dataset
from recsys.data.engines.duckdb import open_engine
from recsys.data.features import Features
from recsys.data.preparation.side_tables import select_columns_by_id
from recsys.data.schema import Columns
from recsys.data.sources.files import read_table, resolve_data_path
from recsys.data.text import join_texts
from recsys.errors import DataError


class DatasetWithNewItems(Dataset):
    """A dataset whose catalogue continues with new items; events of these after training, if any, belong to them.

    `new_ids` are their raw ids, `new_features` the (N, W) codes of each item feature.
    """

    def __init__(self, base: Dataset, new_ids: Sequence[str], new_features: dict[str, Array]) -> None:
        super().__init__(base.folder)
        self.extra_segments, self.base = base.extra_segments, base
        self.new_ids, self.new_features = list(new_ids), new_features
        self.n_items = base.n_items + len(new_ids)
        ids = ["", *map(str, base.raw_items().to_pylist())]
        later = {ids[number]: number for number in range(base.n_items + 1, len(ids))}
        numbers = [*range(base.n_items + 1), *(later.pop(item, 0) for item in new_ids), *later.values()]
        self.base_numbers = np.array(numbers)
        """(I,) the number of each item in the base dataset, 0 if it had none"""
        self.ids = [*ids[: base.n_items + 1], *new_ids, *later]

    def __reduce__(  # type: ignore[override]
        self,
    ) -> tuple[type["DatasetWithNewItems"], tuple[Dataset, list[str], dict[str, Array]]]:
        """Lets other processes build the same dataset from the files of its base."""
        return DatasetWithNewItems, (self.base, self.new_ids, self.new_features)

    @cached_property
    def items(self) -> Array:
        """(N,) int32 item ids."""
        numbers = np.zeros(self.base_numbers.max() + 1, np.int32)
        numbers[self.base_numbers] = np.where(self.base_numbers > 0, np.arange(len(self.base_numbers)), 0)
        return numbers[self.base.items]

    @cached_property
    def item_counts(self) -> Array:
        """(I,) training events of each item that are targets; 0 for new items."""
        return np.concatenate([self.base.item_counts, np.zeros(len(self.new_ids), np.int64)])

    @override
    def raw_items(self) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array(self.ids[1:], pa.string())])

    @override
    def features(self, entity: str) -> dict[str, Array]:
        features = super().features(entity)
        if entity == "item":
            features = {name: array[self.base_numbers] for name, array in features.items()}
            for name, array in self.new_features.items():
                features[name][self.base.n_items + 1 : self.n_items + 1] = array
        return features

    @override
    def segments(self) -> dict[str, tuple[list[str], Array]]:
        """The columns that metrics are reported by; new items are in no segment."""
        return {
            name: (values, codes[self.base_numbers] if name.startswith("item.") else codes)
            for name, (values, codes) in super().segments().items()
        }


def add_new_items(dataset: Dataset, path: str, columns: Columns, features: Features) -> DatasetWithNewItems:
    """The dataset with the items of a table (Parquet, CSV or JSON), encoded as in training.

    Raises DataError for ids that are in the model already or occur twice, and for missing columns.
    """
    names = list(dict.fromkeys([*features.columns("item"), *features.text]))
    with TemporaryDirectory() as work, open_engine(Path(work)) as engine:
        table = read_table(engine, resolve_data_path(path, "new_items"))
        frame = select_columns_by_id(table, "new item", columns.item, names, engine)
    _check_new_ids(frame.index, dataset, path)
    encoded = {}
    for name, encoder in dataset.encoders["item"].items():
        if encoder.kind == "vector":
            assert dataset.text is not None
            encoded[name] = dataset.text.encode(join_texts(frame[[*features.text]]))
        else:
            encoded[name] = encoder.encode(frame[name].reset_index(drop=True), features.separator)
    return DatasetWithNewItems(dataset, frame.index.tolist(), encoded)


def _check_new_ids(ids: "pd.Index[str]", dataset: Dataset, path: str) -> None:
    if ids.empty:
        raise DataError(f"new_items='{path}' contains no items")
    trained = set(map(str, dataset.raw_items().to_pylist()[: dataset.n_items]))
    for is_wrong, reason in ((ids.isin(trained), "is in the model already"), (ids.duplicated(), "occurs twice")):
        if is_wrong.any():
            raise DataError(
                f"new_items='{path}': item '{ids[is_wrong][0]}' {reason} ({is_wrong.sum()} such rows); leave it out"
            )
