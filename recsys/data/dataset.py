"""A prepared dataset: memory-mapped arrays in one folder, written once and reused.

U users, N events; item 0 is always padding. Items 1..n_items occur in training, the most popular first; those of an
older vocabulary come before them, in its order. Larger numbers are items first seen after training.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.event_log import mask_before
from recsys.data.features import TEXT, TIME_FEATURES, Encoder, derive_time_feature
from recsys.data.text import TextEncoder

Array = np.ndarray
SHORT_HISTORY = 20
"""histories are short up to this many training events per user, on average"""


class Dataset:
    """A prepared folder; arrays are mapped from its files, not loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metadata: dict[str, Any] = json.loads((folder / "metadata.json").read_text())
        self.n_items: int = self.metadata["n_items"]
        self.n_users: int = self.metadata["n_users"]
        self.exclude_seen: bool = self.metadata["exclude_seen"]
        self.ordered: bool = self.metadata["split"]["ordered"]
        self.targets: str = self.metadata["split"]["targets"]
        self.ask: str = self.metadata["split"].get("ask", "user")
        self.encoders: dict[str, dict[str, Encoder]] = {
            entity: {name: Encoder(**{**e, "values": tuple(e["values"])}) for name, e in encoders.items()}
            for entity, encoders in self.metadata["features"].items()
        }
        self.extra_segments: dict[str, tuple[list[str], Array]] = {}
        """segments that are not part of the prepared data, such as those of `read_segment_file`"""

    def __reduce__(self) -> tuple[type["Dataset"], tuple[Path]]:
        """Lets other processes map the same files instead of getting copies."""
        return type(self), (self.folder,)

    @cached_property
    def event(self) -> Encoder | None:
        """The encoder of event types; None if all events are targets."""
        settings = self.metadata["event"]
        return settings and Encoder(**{**settings, "values": tuple(settings["values"])})

    @cached_property
    def text(self) -> TextEncoder | None:
        """The encoder of item texts; None if there are none."""
        return TextEncoder.read(self.folder) if TEXT in self.encoders["item"] else None

    @cached_property
    def events(self) -> Array | None:
        """(N, 1) int32 codes of event types; None if all events are targets."""
        return self.array("event")

    @cached_property
    def is_target(self) -> Array | None:
        """(N,) bool: events to be predicted; None if all are."""
        return self.array("is_target")

    @cached_property
    def target_positions(self) -> Array:
        """The positions of the targets among the N events."""
        return np.arange(len(self.items)) if self.is_target is None else np.flatnonzero(self.is_target)

    def count_targets(self, start: Array, end: Array) -> Array:
        """(U,) the number of targets among the events from `start` up to `end`."""
        if self.is_target is None:  # no need to number every event of a large log
            return end - start
        return np.searchsorted(self.target_positions, end) - np.searchsorted(self.target_positions, start)

    def array(self, name: str) -> Array | None:
        """A mapped array; None if the dataset has no array of that name."""
        path = self.folder / f"{name}.npy"
        return np.load(path, mmap_mode="r") if path.exists() else None

    def _required(self, name: str) -> Array:
        array = self.array(name)
        assert array is not None, f"{self.folder} lacks {name}.npy"
        return array

    @cached_property
    def items(self) -> Array:
        """(N,) int32 item ids."""
        return self._required("items")

    @cached_property
    def baskets(self) -> Array:
        """(N,) int64 numbers that never decrease; equal for events that happened together."""
        return self._required("baskets")

    @cached_property
    def has_baskets(self) -> bool:
        """Whether any two events happened together."""
        return bool(self.baskets[-1] < len(self.baskets) - 1)

    @cached_property
    def timestamps(self) -> Array | None:
        """(N,) int64 seconds; None for a log without times."""
        return self.array("timestamps")

    @cached_property
    def weights(self) -> Array | None:
        """(N,) float32; None for a log without weights."""
        return self.array("weights")

    @cached_property
    def offsets(self) -> Array:
        """(U+1,) where each user's events start."""
        return self._required("offsets")

    @cached_property
    def bounds(self) -> Array:
        """(U, 2) where each user's validation and test start."""
        return self._required("split")

    def in_training(self) -> Array:
        """(N,) bool: the events of the training part."""
        return mask_before(self.bounds[:, 0], self.offsets)

    @property
    def mean_history(self) -> float:
        """The average number of training events of users who have any."""
        lengths = self.bounds[:, 0] - self.offsets[:-1]
        return float(lengths.sum() / max(np.count_nonzero(lengths), 1))

    @property
    def has_short_histories(self) -> bool:
        """Whether users have few training events on average."""
        return self.mean_history <= SHORT_HISTORY

    @cached_property
    def item_counts(self) -> Array:
        """(n_items+1,) training events of each item that are targets; 0 for padding."""
        return self._required("item_counts")[: self.n_items + 1]

    @cached_property
    def user_rows(self) -> Array:
        """(U,) the user's row in a user table: 1..U, 0 (unknown) for users without a training event."""
        is_trained = self.bounds[:, 0] > self.offsets[:-1]
        return np.where(is_trained, np.arange(1, self.n_users + 1), 0)

    def features(self, entity: str) -> dict[str, Array]:
        """The encoded columns of `user` or `item`, row 0 unknown, or of `context`, one row per event."""
        return {name: self._required(f"{entity}_{name}") for name in self.encoders[entity]}

    def segments(self) -> dict[str, tuple[list[str], Array]]:
        """The columns that metrics are reported by: their values in code order and the codes, row 0 unknown."""
        columns = self.metadata["segments"]
        prepared = {name: (values, self._required(f"segment_{name}")) for name, values in columns.items()}
        return prepared | self.extra_segments

    def request_features(self, seconds: Array) -> dict[str, Array]:
        """The context of requests at some times: features derived from the time; all others are unknown."""
        zone = self.metadata["zone"]
        context = {}
        for name, encoder in self.encoders["context"].items():
            column = np.zeros((len(seconds), encoder.width), np.float32 if encoder.kind == "number" else np.int32)
            context[name] = derive_time_feature(name, seconds, zone)[:, None] if name in TIME_FEATURES else column
        return context

    def raw_items(self) -> pa.ChunkedArray:
        """Raw ids of items 1..; entry 0 is item 1."""
        return pq.read_table(self.folder / "items.parquet", columns=["item"])["item"]

    def raw_users(self) -> pa.ChunkedArray:
        """Raw ids of the users, in the order of their numbers."""
        return pq.read_table(self.folder / "users.parquet", columns=["user"])["user"]

    @property
    def split_hash(self) -> str:
        """Identifies every event, its order and its part: equal hashes mean comparable metrics."""
        return str(self.metadata["split_hash"])


class TrainPlusValidation(Dataset):
    """A dataset whose training part includes validation, up to the test.

    Items first seen in validation stay unknown (0, and never a target): the catalogue does not change.
    """

    @cached_property
    def bounds(self) -> Array:
        """(U, 2) where each user's test starts, twice."""
        return np.repeat(super().bounds[:, 1:], 2, axis=1)

    @cached_property
    def item_counts(self) -> Array:
        """(n_items+1,) events of each item before the test that are targets; 0 for padding."""
        targets = self.in_training()
        if self.is_target is not None:
            targets &= self.is_target
        return np.bincount(self.items[targets], minlength=self.n_items + 1)[: self.n_items + 1]
