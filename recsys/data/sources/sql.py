"""An event log in a database, read once into Parquet, in chunks so that memory stays bounded."""

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.engines.duckdb import Engine
from recsys.data.engines.tables import fill_column_names
from recsys.data.sources.files import Tables, hash_file
from recsys.errors import DataError
from recsys.extras import install_command

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

ROWS_PER_CHUNK = 100_000
NESTED_TYPES = (list, tuple, set, dict, bytes, bytearray, memoryview)
MASK = "***"


@dataclass(frozen=True)
class Sql:
    """Tables or SELECTs of a database with any SQLAlchemy URL, in which $NAME is an environment variable.

    Rows of a database have no order: if times have ties, name an ordinal under data.columns.row or write ORDER BY.
    Every column is read as text.
    """

    url: str = field(repr=False)
    events: str
    items: str | None = None
    users: str | None = None
    moments: str | None = None

    def identity(self) -> str:
        """Content hash of every table."""
        return "sql:" + ",".join(hash_file(path) if path else "" for path in self._read.values())

    def read(self, engine: Engine) -> Tables:
        """The tables, each with the row's ordinal in `_row`; their files are deleted with this object."""
        events, *others = (engine.read_parquet(path) if path else None for path in self._read.values())
        assert events is not None
        return Tables(events, *others)

    @cached_property
    def _read(self) -> dict[str, Path | None]:
        """One Parquet file per table, in a folder deleted with this object: what is hashed is what is read."""
        folder = Path(tempfile.mkdtemp(prefix="recsys-sql-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        queries = {"events": self.events, "items": self.items, "users": self.users}
        if self.moments:
            queries["moments"] = self.moments
        with open_connection(self.url) as connection:
            return {
                name: write_query(connection, query, folder / f"{name}.parquet") if query else None
                for name, query in queries.items()
            }


@contextmanager
def open_connection(address: str) -> Iterator["Connection"]:
    """A connection to a database; its errors become a DataError without the password."""
    try:
        from sqlalchemy import NullPool, create_engine
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise DataError(f"data=sql needs SQLAlchemy: {install_command('sql')}") from error
    url = parse_address(address)
    try:
        with create_engine(url, poolclass=NullPool).connect() as connection:
            yield connection
    except ImportError as error:
        remedy = f"{install_command('sql')} brings PostgreSQL's; install another, or name it as dialect+driver://"
        raise DataError(f"data.source.url='{_hide_password(url)}' needs a driver ({error}); {remedy}") from None
    except SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        reason = reason.replace(url.password, MASK) if url.password else reason
        raise DataError(
            f"database '{_hide_password(url)}': {reason}; see data.source.url and the queries beside it"
        ) from None


def parse_address(address: str) -> "URL":
    """The address with its $NAMES replaced.

    Raises DataError if it is not an address, if a variable is not set, or if the password is the mask that run folders
    keep in its place.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    expanded = _expand_variables(address)
    try:
        url = make_url(expanded)
    except (ArgumentError, ValueError):  # which repeat the password
        example = "dialect://user:$PASSWORD@host/database"
        raise DataError(f"data.source.url is not a database address; write {example}") from None
    if MASK in (url.password, url.query.get("password")):
        remedy = "write $NAME for it, in single quotes, and set that variable"
        raise DataError(
            f"data.source.url='{_hide_password(url)}' had a password, which run folders do not keep; {remedy}"
        )
    if url.get_backend_name() == "sqlite":
        _check_sqlite_file(url.database)
    return url.set(drivername="postgresql+psycopg") if url.drivername in ("postgresql", "postgres") else url


def _expand_variables(address: str) -> str:
    unset = [name for name in re.findall(r"\$\{?(\w+)", address) if name not in os.environ]
    if unset:
        raise DataError(f"data.source.url names ${unset[0]}, which is not set; export {unset[0]}=VALUE")
    return os.path.expandvars(address)


def _check_sqlite_file(name: str | None) -> None:
    """Raises DataError if the file does not exist, which SQLite would create."""
    if name not in (None, "", ":memory:") and not Path(str(name)).exists():
        raise DataError(f"SQLite file '{Path(str(name)).absolute()}' does not exist; see data.source.url")


def write_query(connection: "Connection", query: str, path: Path) -> Path:
    """The rows of a table or a SELECT as one Parquet file of text, read ROWS_PER_CHUNK rows at a time."""
    options = {"stream_results": True, "max_row_buffer": ROWS_PER_CHUNK, "no_parameters": True}
    result = connection.exec_driver_sql(_to_select(connection, query), execution_options=options)
    names = fill_column_names(list(result.keys()), f"'{query}'", "rename one with AS")
    with pq.ParquetWriter(path, pa.schema([(name, pa.string()) for name in names])) as writer:
        for rows in result.partitions(ROWS_PER_CHUNK):
            columns = zip(names, zip(*rows, strict=True), strict=True)
            writer.write_table(pa.table({name: _to_text_array(name, values) for name, values in columns}))
    return path


def _to_select(connection: "Connection", query: str) -> str:
    """The query, or a SELECT of a whole table if it is a single word, a table's name."""
    if len(query.split()) > 1:
        return query
    quote = connection.dialect.identifier_preparer.quote
    return "SELECT * FROM " + ".".join(map(quote, query.split(".")))


def _to_text_array(name: str, values: tuple[Any, ...]) -> pa.Array:
    nested = next((value for value in values if isinstance(value, NESTED_TYPES)), None)
    if nested is not None:
        remedy = "leave it out with a SELECT, or cast it to text there"
        raise DataError(f"column '{name}' holds a {type(nested).__name__}, not one value; {remedy}")
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _hide_password(url: "URL") -> str:
    return url.difference_update_query(["password"]).render_as_string(hide_password=True)
