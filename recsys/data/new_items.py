"""Items that came after training, as rows behind those that were learned.

I items with padding, N new ones.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from recsys.data.dataset import Array, Dataset
from recsys.data.engines.duckdb import opened
from recsys.data.features import Features
from recsys.data.preparation.pack import columns_by_id
from recsys.data.schema import Columns
from recsys.data.sources.files import existing, read_table
from recsys.data.text import joined
from recsys.errors import DataError


class Extended(Dataset):
    """A dataset whose catalogue goes on with new items `raw`, of whose features `columns` holds (N, width) each; events
    of these, if there were any after training, are theirs.
    """

    def __init__(self, old: Dataset, raw: Sequence[str], columns: dict[str, Array]) -> None:
        super().__init__(old.folder)
        self.joined, self.old, self.new, self.columns = old.joined, old, list(raw), columns
        self.n_items = old.n_items + len(raw)
        ids = ["", *map(str, old.raw_items().to_pylist())]
        later = {ids[number]: number for number in range(old.n_items + 1, len(ids))}
        rows = [*range(old.n_items + 1), *(later.pop(item, 0) for item in raw), *later.values()]
        self.rows = np.array(rows)
        """the old number of each item, 0 where it had none"""
        self.ids = [*ids[: old.n_items + 1], *raw, *later]

    def __reduce__(self) -> tuple[type["Extended"], tuple[Dataset, list[str], dict[str, Array]]]:  # type: ignore[override]
        """Other processes build it anew."""
        return Extended, (self.old, self.new, self.columns)

    @cached_property
    def items(self) -> Array:
        """(N,) int32 item ids."""
        number = np.zeros(self.rows.max() + 1, np.int32)
        number[self.rows] = np.where(self.rows > 0, np.arange(len(self.rows)), 0)
        return number[self.old.items]

    @cached_property
    def item_counts(self) -> Array:
        """(I,) training events that are targets: none of a new item."""
        return np.concatenate([self.old.item_counts, np.zeros(len(self.new), np.int64)])

    def raw_items(self) -> pa.ChunkedArray:
        """Raw ids of items 1.. as text."""
        return pa.chunked_array([pa.array(self.ids[1:], pa.string())])

    def features(self, kind: str) -> dict[str, Array]:
        """The encoded columns; those of new items as they were given."""
        found = super().features(kind)
        if kind == "item":
            found = {name: array[self.rows] for name, array in found.items()}
            for name, array in self.columns.items():
                found[name][self.old.n_items + 1 : self.n_items + 1] = array
        return found

    def segments(self) -> dict[str, tuple[list[str], Array]]:
        """What rankings are reported by; new items without events are in no segment."""
        found = super().segments()
        return {
            name: (values, codes[self.rows] if name.startswith("item.") else codes)
            for name, (values, codes) in found.items()
        }


def extended(dataset: Dataset, path: str, columns: Columns, features: Features) -> Extended:
    """The dataset with the items of a table (Parquet, CSV or JSON), encoded as those of training were; DataError for
    ids that are known or occur twice, and for columns that are missing.
    """
    names = list(dict.fromkeys([*features.columns("item"), *features.text]))
    with TemporaryDirectory() as work, opened(Path(work)) as engine:
        frame = columns_by_id(read_table(engine, existing(path, "new_items")), "new item", columns.item, names, engine)
    raw = frame.index.tolist()
    if not raw:
        raise DataError(f"new_items='{path}' holds no item")
    learned = set(map(str, dataset.raw_items().to_pylist()[: dataset.n_items]))
    for wrong, why in (
        (frame.index.isin(learned), "is in the model already"),
        (frame.index.duplicated(), "occurs twice"),
    ):
        if wrong.any():
            found = frame.index[wrong][0]
            raise DataError(f"new_items='{path}': item '{found}' {why} ({wrong.sum()} such rows); leave it out")
    encoded = {}
    for name, encoder in dataset.encoders["item"].items():
        if encoder.kind == "vector":
            assert dataset.text is not None
            encoded[name] = dataset.text.encode(joined(frame[[*features.text]]))
        else:
            encoded[name] = encoder.encode(frame[name].reset_index(drop=True), features.separator)
    return Extended(dataset, raw, encoded)
