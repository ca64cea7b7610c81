"""A prepared dataset: memory-mapped arrays in one folder, written once and reused.

U users, N events, I items; item 0 is padding, for ever. Items 1..n_items occur in training, the most popular
first, or come from an older vocabulary, in its order before those; larger ids were first seen later.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.event_log import before
from recsys.data.features import DERIVED, TEXT, Encoder, derive
from recsys.data.text import TextEncoder

Array = np.ndarray
SHORT = 20
"""training events of a user, on average, up to which histories are short"""


class Dataset:
    """Reads a prepared folder; arrays are mapped, not loaded."""

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
            kind: {name: Encoder(**{**e, "values": tuple(e["values"])}) for name, e in encoders.items()}
            for kind, encoders in self.metadata["features"].items()
        }
        self.joined: dict[str, tuple[list[str], Array]] = {}
        """segments that were not prepared: `segments.joined`"""

    def __reduce__(self) -> tuple[type["Dataset"], tuple[Path]]:
        """Other processes map the same files, instead of getting copies."""
        return type(self), (self.folder,)

    @cached_property
    def event(self) -> Encoder | None:
        """How types of events are coded; None where all events are targets."""
        found = self.metadata["event"]
        return found and Encoder(**{**found, "values": tuple(found["values"])})

    @cached_property
    def text(self) -> TextEncoder | None:
        """How texts of items were encoded; None where there are none."""
        return TextEncoder.read(self.folder) if TEXT in self.encoders["item"] else None

    @cached_property
    def events(self) -> Array | None:
        """(N, 1) int32 types of events."""
        return self.array("event")

    @cached_property
    def is_target(self) -> Array | None:
        """(N,) bool, None where all events are targets."""
        return self.array("is_target")

    @cached_property
    def target_positions(self) -> Array:
        """Where the targets stand among the N events."""
        return np.arange(len(self.items)) if self.is_target is None else np.flatnonzero(self.is_target)

    def count_targets(self, start: Array, end: Array) -> Array:
        """(U,) the number of targets among the events from `start` up to `end`."""
        if self.is_target is None:  # no need to number every event of a large log
            return end - start
        return np.searchsorted(self.target_positions, end) - np.searchsorted(self.target_positions, start)

    def array(self, name: str) -> Array | None:
        """A mapped array, None where the dataset has none of that name."""
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
        """(N,) int64 numbers that never fall; equal for events that happened together."""
        return self._required("baskets")

    @cached_property
    def has_baskets(self) -> bool:
        """Whether any two events happened together."""
        return bool(self.baskets[-1] < len(self.baskets) - 1)

    @cached_property
    def timestamps(self) -> Array | None:
        """(N,) int64 seconds, None for a log that has order only."""
        return self.array("timestamps")

    @cached_property
    def weights(self) -> Array | None:
        """(N,) float32, None for an unweighted log."""
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
        return before(self.bounds[:, 0], self.offsets)

    @property
    def mean_history(self) -> float:
        """Training events of a user who has any."""
        lengths = self.bounds[:, 0] - self.offsets[:-1]
        return float(lengths.sum() / max(np.count_nonzero(lengths), 1))

    @property
    def short(self) -> bool:
        """Whether histories are short."""
        return self.mean_history <= SHORT

    @cached_property
    def item_counts(self) -> Array:
        """(n_items+1,) training events of each item that are targets; 0 for padding."""
        return self._required("item_counts")[: self.n_items + 1]

    @cached_property
    def user_rows(self) -> Array:
        """(U,) the user's row in a user table: 1..U, 0 (unknown) for users without a training event."""
        known = self.bounds[:, 0] > self.offsets[:-1]
        return np.where(known, np.arange(1, self.n_users + 1), 0)

    def features(self, kind: str) -> dict[str, Array]:
        """The encoded columns of `user` or `item`, row 0 unknown, or of `context`, a row an event."""
        return {name: self._required(f"{kind}_{name}") for name in self.encoders[kind]}

    def segments(self) -> dict[str, tuple[list[str], Array]]:
        """What rankings are reported by: of each column its values in code order and the codes, row 0 unknown."""
        columns = self.metadata["segments"]
        own = {name: (values, self._required(f"segment_{name}")) for name, values in columns.items()}
        return own | self.joined

    def request_features(self, seconds: Array) -> dict[str, Array]:
        """Context at a moment that is no event's: what a clock tells, all else unknown."""
        zone = self.metadata["zone"]
        context = {}
        for name, encoder in self.encoders["context"].items():
            column = np.zeros((len(seconds), encoder.width), np.float32 if encoder.kind == "number" else np.int32)
            context[name] = derive(name, seconds, zone)[:, None] if name in DERIVED else column
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


class UntilTest(Dataset):
    """A dataset whose training part goes on to the test: validation's events are learned from too. Items that came with
    them stay unknown (0, and no target), for the catalogue is that of the dataset.
    """

    @cached_property
    def bounds(self) -> Array:
        """(U, 2) where each user's test starts, twice."""
        return np.repeat(super().bounds[:, 1:], 2, axis=1)

    @cached_property
    def item_counts(self) -> Array:
        """(n_items+1,) events of each item before the test that are targets; 0 for padding."""
        learned = self.in_training()
        if self.is_target is not None:
            learned &= self.is_target
        return np.bincount(self.items[learned], minlength=self.n_items + 1)[: self.n_items + 1]
