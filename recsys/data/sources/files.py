"""Where an event log comes from: files and frames; databases stand in `sql`, public sets in `public`.

A source reads through the engine and names itself: `identity()` changes whenever its content does, so that a
prepared dataset is never reused for other data.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from recsys.data.engines.duckdb import Engine, Frame, arrow_table
from recsys.data.engines.spark import content_hash, is_spark
from recsys.errors import DataError

JSON = {".json", ".jsonl", ".ndjson"}


class Tables(NamedTuple):
    """Events as the source has them, and the tables of items, users and moments (places and hours) beside them."""

    events: Frame
    items: Frame | None = None
    users: Frame | None = None
    moments: Frame | None = None


@runtime_checkable
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
    """A log in one file, with optional tables of items, users and moments (CSV, JSON or Parquet) beside it."""

    path: str
    items: str | None = None
    users: str | None = None
    moments: str | None = None

    def identity(self) -> str:
        """Kind and content hash of every file."""
        hashes = [file_hash(existing(path, name)) if path else "" for name, path in _given(self).items()]
        return f"{type(self).__name__}:{','.join(hashes)}"

    def read(self, engine: Engine) -> Tables:
        """The tables, each with the row's ordinal in `_row`."""
        return Tables(
            self.read_events(engine, existing(self.path, "path")),
            read_table(engine, existing(self.items, "items")) if self.items else None,
            read_table(engine, existing(self.users, "users")) if self.users else None,
            read_table(engine, existing(self.moments, "moments")) if self.moments else None,
        )

    def read_events(self, engine: Engine, path: Path) -> Frame:
        """The events of one file."""
        return read_table(engine, path)


class Csv(FileSource):
    """A CSV file with a header; every column is read as text, so ids keep leading zeros."""


class Parquet(FileSource):
    """A Parquet file, or a folder of them."""


class Json(FileSource):
    """A file of JSON objects, one a line or in one array; every value is read as text."""

    def read_events(self, engine: Engine, path: Path) -> Frame:
        """The events of one file."""
        return engine.read_json(path)


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
    """A log in memory: pandas, Polars or Arrow, or Spark's where `data.spark` is set."""

    events: Any
    items: Any = None
    users: Any = None
    moments: Any = None

    def identity(self) -> str:
        """Content hash of every frame."""
        return "frame:" + ",".join("" if f is None else _frame_hash(f) for f in _given(self).values())

    def read(self, engine: Engine) -> Tables:
        """The tables, each with the row's ordinal in `_row`."""
        beside = (self.items, self.users, self.moments)
        return Tables(engine.from_frame(self.events), *(None if f is None else engine.from_frame(f) for f in beside))


def _given(source: FileSource | FrameSource) -> dict[str, Any]:
    """The tables of a source; without moments, what it was before there were any, so that data keep their names."""
    return {name: table for name, table in vars(source).items() if name != "moments" or table is not None}


def existing(path: str, setting: str) -> Path:
    """The path, which exists; DataError if it does not."""
    found = Path(path).expanduser()
    if not found.exists():
        raise DataError(f"data file '{found.absolute()}' does not exist; set data.source.{setting} to your file")
    if found.is_dir() and not any(found.rglob("*.parquet")):
        raise DataError(f"data folder '{found.absolute()}' holds no .parquet file; name a file, or a folder of them")
    return found


def read_table(engine: Engine, path: Path) -> Frame:
    """A Parquet file or folder, a JSON file, else a CSV file, as its name says."""
    if path.is_dir() or path.suffix in (".parquet", ".pq"):
        return engine.read_parquet(path)
    return engine.read_json(path) if JSON & set(path.suffixes[-2:]) else engine.read_csv(path)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of all Parquet files of a folder in order of their names."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _frame_hash(frame: Any) -> str:
    if is_spark(frame):
        return hashlib.sha256(content_hash(frame).encode()).hexdigest()
    table = arrow_table(frame)
    digest = hashlib.sha256(str(table.schema.remove_metadata()).encode())
    for batch in table.combine_chunks().to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()
