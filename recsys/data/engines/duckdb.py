"""The embedded data engine: DuckDB behind Narwhals frames, every stage kept as Parquet.

What Narwhals cannot express (reading text files, casting text that may not parse) is here, so that the rest of the
pipeline runs unchanged on another engine.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import narwhals.stable.v2 as nw
from narwhals.exceptions import NarwhalsError

from recsys.data.engines import times
from recsys.data.engines.quoting import escape_path, extract_json_value, quote_name, quote_text
from recsys.data.engines.tables import fill_column_names, to_arrow_table
from recsys.data.schema import Clock
from recsys.errors import DataError

Frame = nw.LazyFrame[Any]
STAGE_FORMAT = "(FORMAT parquet, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1)"
"""stages are read once or twice and deleted; compressing them would take twice as long as writing them"""
LINE_OPTIONS = "columns={'line': 'VARCHAR'}, delim='\x01', header=false, quote='', escape='', auto_detect=false"
DELIMITERS = ",;\t|"
BLANKS = "' \t\r\n\u00a0'"
SPLIT_WORDS = f"regexp_split_to_array(trim(line, {BLANKS}), '\\s+')"


class Engine:
    """A private DuckDB connection; its spill files and its stages are in one work folder."""

    errors: tuple[type[Exception], ...] = (duckdb.Error, NarwhalsError)
    text_sql = f"nullif(trim(CAST({{}} AS VARCHAR), {BLANKS}), '')"
    time_sql = "epoch_us(try_cast({} AS TIMESTAMPTZ))"
    date_sql = staticmethod(times.build_date_sql)
    quote = staticmethod(quote_name)

    def __init__(self, folder: Path, memory: str = "4GB") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {"memory_limit": memory, "temp_directory": str(folder / "spill")}
        self.connection = duckdb.connect(config=config)
        self._set_zone("UTC")

    def keep(self, frame: Frame, name: str) -> Frame:
        """The frame, computed once and read back from Parquet, so that lazy plans stay small."""
        path = self.folder / f"{name}.parquet"
        frame.to_native().query("kept", f"COPY kept TO {quote_text(str(path))} {STAGE_FORMAT}")
        return self._sql("SELECT * FROM read_parquet(?)", escape_path(path))

    def write(self, frame: Frame, path: Path) -> None:
        """Write a frame into one Parquet file."""
        frame.sink_parquet(path)

    def read_parquet(self, path: Path) -> Frame:
        """A Parquet file or a folder of them, with the row's ordinal in `_row`."""
        files = f"{escape_path(path)}/**/*.parquet" if path.is_dir() else escape_path(path)
        return _with_row_numbers(self.connection.sql("SELECT * FROM read_parquet(?)", params=[files]))

    def read_csv(
        self, path: Path, delimiter: str | None = None, names: Sequence[str] | None = None, quote: str = '"'
    ) -> Frame:
        """A CSV file with the row's ordinal in `_row`; every column is text, so ids such as 007 keep their zeros.

        Nothing is guessed from the rows, since DuckDB's guess would skip lines that do not fit. Columns are `names` or
        those in the first line; the delimiter is the one that the first line has most often.
        """
        if names is None:
            first = self._first_line(path)
            delimiter = delimiter or max(DELIMITERS, key=first.count)
            columns = fill_column_names(
                next(csv.reader([first], delimiter=delimiter)), f"'{path}'", "rename one in its first line"
            )
        else:
            columns = list(names)
        options = f"columns=$types, delim=$delimiter, quote=$quote, escape=$quote, header={names is None}"
        relation = self.connection.sql(
            f"SELECT * FROM read_csv($path, {options}, auto_detect=false, all_varchar=true)",
            params={"path": escape_path(path), "types": dict.fromkeys(columns, "VARCHAR"), "delimiter": delimiter,
                    "quote": quote},
        )  # fmt: skip
        return _with_row_numbers(relation)

    def read_json(self, path: Path) -> Frame:
        """Objects, one per line or in one array, with the object's ordinal in `_row`; every value is text.

        A nested list or object is an error, but only if its column is used.
        """
        objects = "SELECT json FROM read_json_objects(?)"
        types_and_keys = self.connection.execute(
            f"SELECT DISTINCT json_type(json), json_keys(json) FROM ({objects})", [escape_path(path)]
        ).fetchall()
        if any(json_type != "OBJECT" for json_type, _ in types_and_keys):
            raise DataError(f"'{path}' holds more than objects; write one object per line, or one array of objects")
        keys = sorted({key for _, row in types_and_keys for key in row})
        names = fill_column_names(keys, f"'{path}'", "rename one")
        twice = next((key for _, row in types_and_keys for key, n in Counter(row).items() if n > 1), None)
        if not keys or twice is not None:
            fault = "holds no object" if not keys else f"has the key '{twice}' twice in one object"
            raise DataError(f"'{path}' {fault}; write one object per line, with each key once")
        columns = ", ".join(
            f"{extract_json_value(key)} AS {quote_name(name)}" for key, name in zip(keys, names, strict=True)
        )
        return _with_row_numbers(self.connection.sql(f"SELECT {columns} FROM ({objects})", params=[escape_path(path)]))

    def read_sequences(self, path: Path) -> Frame:
        """Columns user, item, _row of a text file with one 'user item item …' line per user."""
        words = f"SELECT row_number() OVER () AS n, {SPLIT_WORDS} AS w FROM read_csv(?, {LINE_OPTIONS})"
        events = "SELECT n, w[1] AS user, unnest(w[2:]) AS item, generate_subscripts(w[2:], 1) AS position"
        sql = f"SELECT user, item, row_number() OVER (ORDER BY n, position) - 1 AS _row FROM ({events} FROM ({words}))"
        return self._sql(sql, escape_path(path))

    def read_pairs(self, path: Path) -> Frame:
        """Columns user, item, _row of a text file with one 'user item' line per event."""
        words = f"SELECT {SPLIT_WORDS} AS w FROM read_csv(?, {LINE_OPTIONS}) WHERE {SPLIT_WORDS}[1] <> ''"
        sql = f"SELECT w[1] AS user, w[2] AS item, row_number() OVER () - 1 AS _row FROM ({words})"
        return self._sql(sql, escape_path(path))

    def from_frame(self, frame: Any) -> Frame:
        """A pandas, Polars or Arrow frame, with the row's ordinal in `_row`."""
        return _with_row_numbers(self.connection.from_arrow(to_arrow_table(frame)))

    def to_number(self, frame: Frame, column: str) -> Frame:
        """The frame with a column as float64, null where it does not parse."""
        return self._replace(frame, column, f"try_cast({self.quote(column)} AS DOUBLE)")

    def to_text(self, frame: Frame, column: str) -> Frame:
        """The frame with a column as text, without blanks at its ends; empty text is null."""
        return self._replace(frame, column, self.text_sql.format(self.quote(column)))

    def to_microseconds(self, frame: Frame, column: str, clock: Clock) -> Frame:
        """The frame with a time column as int64 microseconds since 1970 UTC, null where it does not parse."""
        dtype = frame.collect_schema()[column]
        is_number = dtype.is_numeric()
        if not is_number and dtype not in (nw.Datetime, nw.Date):
            frame = self.to_text(frame, column)
            as_number, as_time = f"try_cast({self.quote(column)} AS DOUBLE)", self.time_sql.format(self.quote(column))
            n_numbers, n_times = self._aggregate(frame, f"count({as_number})", f"count({as_time})")
            is_number = n_numbers > 0 and n_numbers >= n_times
        value = self.quote(column)
        if is_number:
            value, dates = self._from_number(frame, column, clock)
            if not dates:
                return self._replace(frame, column, value)
        with self._zone(clock.zone):
            return self.keep(self._replace(frame, column, self.time_sql.format(value)), "times")

    def _first_line(self, path: Path) -> str:
        sql = f"SELECT line FROM read_csv(?, {LINE_OPTIONS}) LIMIT 1"
        rows = self.connection.execute(sql, [escape_path(path)]).fetchall()
        if not rows or rows[0][0] is None:
            raise DataError(f"'{path}' has no header in its first line")
        return str(rows[0][0])

    @contextmanager
    def _zone(self, zone: str) -> Iterator[None]:
        self._set_zone(zone)
        try:
            yield
        finally:
            self._set_zone("UTC")

    def _set_zone(self, zone: str) -> None:
        self.connection.execute(f"SET TimeZone={quote_text(zone)}")

    def _from_number(self, frame: Frame, column: str, clock: Clock) -> tuple[str, bool]:
        """SQL for the time of a column of numbers, and whether it is a date, as half of them such as 20240131 mean."""
        number = f"try_cast({self.quote(column)} AS DOUBLE)"
        if clock.unit != "auto":
            return times.build_microseconds_sql(number, clock.unit, strict=False), False
        date = self.date_sql(number)
        aggregates = f"count({number})", f"count({date})", *times.build_unit_counts(number)
        n, dates, *reached = self._aggregate(frame, *aggregates)
        if n and 2 * dates >= n:
            return date, True
        return times.build_microseconds_sql(number, times.choose_time_unit(reached, n), strict=True), False

    def _aggregate(self, frame: Frame, *aggregates: str) -> Sequence[Any]:
        """The values of some SQL aggregates of the whole frame."""
        return frame.to_native().aggregate(", ".join(aggregates)).fetchall()[0]

    def _replace(self, frame: Frame, column: str, expression: str) -> Frame:
        if column not in frame.columns:
            raise DataError(f"column '{column}' is missing; there are: {', '.join(frame.columns)}")
        return self._with_expression(frame.to_native(), column, expression)

    def _with_expression(self, relation: Any, column: str, expression: str) -> Frame:
        return _to_frame(relation.project(f"* REPLACE ({expression} AS {quote_name(column)})"))

    def _sql(self, sql: str, *values: Any) -> Frame:
        return _to_frame(self.connection.sql(sql, params=list(values)))

    def close(self) -> None:
        """Close the connection and drop its spill files."""
        self.connection.close()


@contextmanager
def open_engine(folder: Path, make_engine: Callable[..., Engine] = Engine) -> Iterator[Engine]:
    """An engine, closed at the end; its errors become a DataError that names file and line."""
    engine = make_engine(folder)
    try:
        yield engine
    except engine.errors as error:
        raise DataError(_explain_engine_error(str(error))) from error
    finally:
        engine.close()


def _explain_engine_error(text: str) -> str:
    """The engine's message as one line, without its remedies, which name settings that recsys does not have."""
    unwritable = re.search(r'Could not write file \\?"(.+?)\\?": ([^"]+)', text)
    if unwritable:
        reason = unwritable[2].strip()
        return f"'{unwritable[1]}' cannot be written ({reason}); free disk space or choose another data.folder"
    file = re.search(r"\n\s*file = (.+)", text)
    complaint = " ".join(re.split(r"\n+\s*(?:Possible|file =)", text)[0].split())
    if complaint.startswith("Out of Memory"):
        return f"{complaint}; raise data.memory, or free space on the disk of data.folder"
    prefix = f"'{file[1]}': " if file else ""
    return f"{prefix}{complaint}; fix the source, or read it yourself and pass a frame"


def _with_row_numbers(relation: Any) -> Frame:
    return _to_frame(relation.project("*, row_number() OVER () - 1 AS _row"))


def _to_frame(relation: Any) -> Frame:
    return nw.from_native(relation)
