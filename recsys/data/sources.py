"""Where an event log comes from: files and frames.

A source reads through the engine and names itself: `identity()` changes whenever its content does, so that a
prepared dataset is never reused for other data.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import narwhals.stable.v2 as nw

from recsys.data.engine import Engine, Frame
from recsys.data.schema import DataError


class Tables(NamedTuple):
    """Events as the source has them, and the tables of items and users beside them."""

    events: Frame
    items: Frame | None = None
    users: Frame | None = None


class Source(Protocol):
    """Anything that gives an event log."""

    def identity(self) -> str:
        """A text that changes whenever the content does."""
        ...

    def read(self, engine: Engine) -> Tables:
        """The tables, lazily."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A log in one file, with optional item and user tables (CSV or Parquet) beside it."""

    path: str
    items: str | None = None
    users: str | None = None

    def identity(self) -> str:
        """Kind and content hash of every file."""
        return f"{type(self).__name__}:" + ",".join(file_hash(existing(path)) for path in self._paths())

    def read(self, engine: Engine) -> Tables:
        """The tables, each with the row's ordinal in `_row`."""
        return Tables(
            self.read_events(engine, existing(self.path)),
            read_table(engine, existing(self.items)) if self.items else None,
            read_table(engine, existing(self.users)) if self.users else None,
        )

    def read_events(self, engine: Engine, path: Path) -> Frame:
        """The events of one file."""
        return read_table(engine, path)

    def _paths(self) -> Iterator[str]:
        return (path for path in (self.path, self.items, self.users) if path)


class Csv(FileSource):
    """A CSV file with a header; every column is read as text, so ids keep leading zeros."""


class Parquet(FileSource):
    """A Parquet file, or a folder of them."""


class Sequences(FileSource):
    """A text file of the literature: one 'user item item …' line a user, oldest item first."""

    def read_events(self, engine: Engine, path: Path) -> Frame:
        """Columns user and item."""
        return engine.read_sequences(path)


class Pairs(FileSource):
    """A text file of the literature: one 'user item' line an event, oldest first."""

    def read_events(self, engine: Engine, path: Path) -> Frame:
        """Columns user and item."""
        return engine.read_pairs(path)


@dataclass(frozen=True)
class FrameSource:
    """A log in memory: pandas, Polars or Arrow."""

    events: Any
    items: Any = None
    users: Any = None

    def identity(self) -> str:
        """Content hash of every frame."""
        return "frame:" + ",".join(_frame_hash(frame) for frame in vars(self).values() if frame is not None)

    def read(self, engine: Engine) -> Tables:
        """The tables, each with the row's ordinal in `_row`."""
        return Tables(*(None if frame is None else engine.from_frame(frame) for frame in vars(self).values()))


def existing(path: str | Path) -> Path:
    """The path, which exists; DataError if it does not."""
    found = Path(path).expanduser()
    if not found.exists():
        raise DataError(f"data file '{found.absolute()}' does not exist; set data.source.path to your file")
    return found


def read_table(engine: Engine, path: Path) -> Frame:
    """A Parquet file or folder, else a CSV file."""
    parquet = path.is_dir() or path.suffix in (".parquet", ".pq")
    return engine.read_parquet(path) if parquet else engine.read_csv(path)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of all Parquet files of a folder in order of their names."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _frame_hash(frame: Any) -> str:
    table = nw.from_native(frame, eager_only=True).to_arrow()
    digest = hashlib.sha256(str(table.schema.remove_metadata()).encode())
    for batch in table.combine_chunks().to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()
