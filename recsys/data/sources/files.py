"""Event logs in files and frames; databases are in `sql`, public data sets in `public`.

The `identity()` of a source changes whenever its content does, so that a prepared dataset is never reused for other
data.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from typing_extensions import override

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.engines.spark import hash_spark_frame, is_spark_frame
from recsys.data.engines.tables import to_arrow_table
from recsys.errors import DataError

JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}


class Tables(NamedTuple):
    """The events of a source, and its tables of items, of users and of context by place and hour."""

    events: Frame
    items: Frame | None = None
    users: Frame | None = None
    context_table: Frame | None = None


@runtime_checkable
class Source(Protocol):
    """Anything that an event log can be read from."""

    def identity(self) -> str:
        """A text that changes whenever the content does."""
        ...

    def read(self, engine: Engine) -> Tables:
        """The tables as lazy frames."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A log in one file, with optional tables of items, users and context (`moments`): CSV, JSON or Parquet."""

    path: str
    items: str | None = None
    users: str | None = None
    moments: str | None = None

    def identity(self) -> str:
        """The class and a content hash of every file."""
        hashes = [
            hash_file(resolve_data_path(path, name)) if path else "" for name, path in _named_tables(self).items()
        ]
        return f"{type(self).__name__}:{','.join(hashes)}"

    def read(self, engine: Engine) -> Tables:
        """The tables, each with the row's ordinal in `_row`."""
        return Tables(
            self.read_events(engine, resolve_data_path(self.path, "path")),
            read_table(engine, resolve_data_path(self.items, "items")) if self.items else None,
            read_table(engine, resolve_data_path(self.users, "users")) if self.users else None,
            read_table(engine, resolve_data_path(self.moments, "moments")) if self.moments else None,
        )

    def read_events(self, engine: Engine, path: Path) -> Frame:
        """The events of one file."""
        return read_table(engine, path)


class Csv(FileSource):
    """A CSV file with a header; every column is read as text, so ids keep leading zeros."""


class Parquet(FileSource):
    """A Parquet file, or a folder of them."""


class Json(FileSource):
    """A file of JSON objects, one per line or in one array; every value is read as text."""

    @override
    def read_events(self, engine: Engine, path: Path) -> Frame:
        return engine.read_json(path)


class Sequences(FileSource):
    """A text file as in many papers: one 'user item item …' line per user, oldest item first."""

    @override
    def read_events(self, engine: Engine, path: Path) -> Frame:
        return engine.read_sequences(path)


class Pairs(FileSource):
    """A text file as in many papers: one 'user item' line per event, oldest first."""

    @override
    def read_events(self, engine: Engine, path: Path) -> Frame:
        return engine.read_pairs(path)


@dataclass(frozen=True)
class FrameSource:
    """A log in memory: pandas, Polars or Arrow frames, or Spark frames if `data.spark` is set."""

    events: Any
    items: Any = None
    users: Any = None
    moments: Any = None

    def identity(self) -> str:
        """Content hash of every frame."""
        return "frame:" + ",".join("" if f is None else _hash_frame(f) for f in _named_tables(self).values())

    def read(self, engine: Engine) -> Tables:
        """The tables, each with the row's ordinal in `_row`."""
        others = (self.items, self.users, self.moments)
        return Tables(engine.from_frame(self.events), *(None if f is None else engine.from_frame(f) for f in others))


def _named_tables(source: FileSource | FrameSource) -> dict[str, Any]:
    """The tables of a source by name; `moments` only if set, so that datasets without it keep their fingerprint."""
    return {name: table for name, table in vars(source).items() if name != "moments" or table is not None}


def resolve_data_path(path: str, setting: str) -> Path:
    """The path of a file or folder of data; DataError if it does not exist or is a folder without Parquet files."""
    resolved = Path(path).expanduser()
    if not resolved.exists():
        raise DataError(f"data file '{resolved.absolute()}' does not exist; set data.source.{setting} to your file")
    if resolved.is_dir() and not any(resolved.rglob("*.parquet")):
        raise DataError(f"data folder '{resolved.absolute()}' holds no .parquet file; name a file, or a folder of them")
    return resolved


def read_table(engine: Engine, path: Path) -> Frame:
    """The rows of a Parquet file or folder, a JSON file or, for any other suffix, a CSV file."""
    if path.is_dir() or path.suffix in (".parquet", ".pq"):
        return engine.read_parquet(path)
    return engine.read_json(path) if JSON_SUFFIXES & set(path.suffixes[-2:]) else engine.read_csv(path)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, or of all Parquet files of a folder in order of their names."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _hash_frame(frame: Any) -> str:
    if is_spark_frame(frame):
        return hashlib.sha256(hash_spark_frame(frame).encode()).hexdigest()
    table = to_arrow_table(frame)
    digest = hashlib.sha256(str(table.schema.remove_metadata()).encode())
    for batch in table.combine_chunks().to_batches():
        digest.update(batch.serialize())
    return digest.hexdigest()
