"""The embedded data engine: DuckDB behind Narwhals frames, every stage kept as Parquet.

Whatever Narwhals cannot say (reading text, casting what may not parse) stands here, so that the rest of the
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
import pyarrow as pa
from narwhals.exceptions import NarwhalsError

from recsys.data.engines import times
from recsys.data.engines.quoting import json_value, literal_path, quoted_name, quoted_text
from recsys.data.schema import Clock
from recsys.errors import DataError

Frame = nw.LazyFrame[Any]
STAGE = "(FORMAT parquet, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1)"
"""Stages are read once or twice and thrown away: packing them costs twice what writing them does."""
LINE = "columns={'line': 'VARCHAR'}, delim='\x01', header=false, quote='', escape='', auto_detect=false"
DELIMITERS = ",;\t|"
BLANKS = "' \t\r\n\u00a0'"
WORDS = f"regexp_split_to_array(trim(line, {BLANKS}), '\\s+')"


class Engine:
    """A private DuckDB connection that spills to, and keeps its stages in, one work folder."""

    errors: tuple[type[Exception], ...] = (duckdb.Error, NarwhalsError)
    text = f"nullif(trim(CAST({{}} AS VARCHAR), {BLANKS}), '')"
    moment = "epoch_us(try_cast({} AS TIMESTAMPTZ))"
    date = staticmethod(times.date)
    name = staticmethod(quoted_name)

    def __init__(self, folder: Path, memory: str = "4GB") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {"memory_limit": memory, "temp_directory": str(folder / "spill")}
        self.connection = duckdb.connect(config=config)
        self._set_zone("UTC")

    def keep(self, frame: Frame, name: str) -> Frame:
        """The frame, computed once and read back from Parquet: lazy plans stay small."""
        path = self.folder / f"{name}.parquet"
        frame.to_native().query("kept", f"COPY kept TO {quoted_text(str(path))} {STAGE}")
        return self._sql("SELECT * FROM read_parquet(?)", literal_path(path))

    def write(self, frame: Frame, path: Path) -> None:
        """Write a frame into one Parquet file."""
        frame.sink_parquet(path)

    def read_parquet(self, path: Path) -> Frame:
        """A Parquet file or a folder of them, with the row's ordinal in `_row`."""
        files = f"{literal_path(path)}/**/*.parquet" if path.is_dir() else literal_path(path)
        return _numbered(self.connection.sql("SELECT * FROM read_parquet(?)", params=[files]))

    def read_csv(
        self, path: Path, delimiter: str | None = None, names: Sequence[str] | None = None, quote: str = '"'
    ) -> Frame:
        """A CSV file, every column as text: ids such as 007 keep their zeros; with `_row`, the row's ordinal.

        Nothing is guessed from the rows (a guess skips lines it dislikes): `names`, or the first line, tells the
        columns, and the delimiter is whichever that line has most.
        """
        if names is None:
            first = self._first_line(path)
            delimiter = delimiter or max(DELIMITERS, key=first.count)
            columns = column_names(
                next(csv.reader([first], delimiter=delimiter)), f"'{path}'", "rename one in its first line"
            )
        else:
            columns = list(names)
        options = f"columns=$types, delim=$delimiter, quote=$quote, escape=$quote, header={names is None}"
        relation = self.connection.sql(
            f"SELECT * FROM read_csv($path, {options}, auto_detect=false, all_varchar=true)",
            params={"path": literal_path(path), "types": dict.fromkeys(columns, "VARCHAR"), "delimiter": delimiter,
                    "quote": quote},
        )  # fmt: skip
        return _numbered(relation)

    def read_json(self, path: Path) -> Frame:
        """Objects, one a line or in one array, every value as text; with `_row`, the object's ordinal.

        Lists and objects inside are an error, but only where their column is used.
        """
        objects = "SELECT json FROM read_json_objects(?)"
        found = self.connection.execute(
            f"SELECT DISTINCT json_type(json), json_keys(json) FROM ({objects})", [literal_path(path)]
        ).fetchall()
        if any(kind != "OBJECT" for kind, _ in found):
            raise DataError(f"'{path}' holds more than objects; write one object a line, or one array of objects")
        keys = sorted({key for _, row in found for key in row})
        names = column_names(keys, f"'{path}'", "rename one")
        twice = next((key for _, row in found for key, n in Counter(row).items() if n > 1), None)
        if not keys or twice is not None:
            fault = "holds no object" if not keys else f"has the key '{twice}' twice in one object"
            raise DataError(f"'{path}' {fault}; write one object a line, with each key once")
        columns = ", ".join(f"{json_value(key)} AS {quoted_name(name)}" for key, name in zip(keys, names, strict=True))
        return _numbered(self.connection.sql(f"SELECT {columns} FROM ({objects})", params=[literal_path(path)]))

    def read_sequences(self, path: Path) -> Frame:
        """Columns user, item, _row of a text file with one 'user item item …' line a user."""
        words = f"SELECT row_number() OVER () AS n, {WORDS} AS w FROM read_csv(?, {LINE})"
        events = "SELECT n, w[1] AS user, unnest(w[2:]) AS item, generate_subscripts(w[2:], 1) AS place"
        sql = f"SELECT user, item, row_number() OVER (ORDER BY n, place) - 1 AS _row FROM ({events} FROM ({words}))"
        return self._sql(sql, literal_path(path))

    def read_pairs(self, path: Path) -> Frame:
        """Columns user, item, _row of a text file with one 'user item' line an event."""
        words = f"SELECT {WORDS} AS w FROM read_csv(?, {LINE}) WHERE {WORDS}[1] <> ''"
        sql = f"SELECT w[1] AS user, w[2] AS item, row_number() OVER () - 1 AS _row FROM ({words})"
        return self._sql(sql, literal_path(path))

    def from_frame(self, frame: Any) -> Frame:
        """A pandas, Polars or Arrow frame, with the row's ordinal in `_row`."""
        return _numbered(self.connection.from_arrow(arrow_table(frame)))

    def to_number(self, frame: Frame, column: str) -> Frame:
        """The frame with a column as float64; what does not parse is null."""
        return self._replace(frame, column, f"try_cast({self.name(column)} AS DOUBLE)")

    def to_text(self, frame: Frame, column: str) -> Frame:
        """The frame with a column as text, blanks at its ends removed, empty as null."""
        return self._replace(frame, column, self.text.format(self.name(column)))

    def to_microseconds(self, frame: Frame, column: str, clock: Clock) -> Frame:
        """The frame with a time column as int64 microseconds since 1970 UTC; what does not parse is null."""
        kind = frame.collect_schema()[column]
        number = kind.is_numeric()
        if not number and kind not in (nw.Datetime, nw.Date):
            frame = self.to_text(frame, column)
            as_number, as_moment = f"try_cast({self.name(column)} AS DOUBLE)", self.moment.format(self.name(column))
            numbers, moments = self._values(frame, f"count({as_number})", f"count({as_moment})")
            number = numbers > 0 and numbers >= moments
        value = self.name(column)
        if number:
            value, dates = self._from_number(frame, column, clock)
            if not dates:
                return self._replace(frame, column, value)
        with self._zone(clock.zone):
            return self.keep(self._replace(frame, column, self.moment.format(value)), "times")

    def _first_line(self, path: Path) -> str:
        sql = f"SELECT line FROM read_csv(?, {LINE}) LIMIT 1"
        found = self.connection.execute(sql, [literal_path(path)]).fetchall()
        if not found or found[0][0] is None:
            raise DataError(f"'{path}' has no header in its first line")
        return str(found[0][0])

    @contextmanager
    def _zone(self, zone: str) -> Iterator[None]:
        self._set_zone(zone)
        try:
            yield
        finally:
            self._set_zone("UTC")

    def _set_zone(self, zone: str) -> None:
        self.connection.execute(f"SET TimeZone={quoted_text(zone)}")

    def _from_number(self, frame: Frame, column: str, clock: Clock) -> tuple[str, bool]:
        """Microseconds of a column of numbers or, if that is what most of them write, their dates."""
        number = f"try_cast({self.name(column)} AS DOUBLE)"
        if clock.unit != "auto":
            return times.moment(number, clock.unit, strict=False), False
        date = self.date(number)
        aggregates = f"count({number})", f"count({date})", *times.units_reached(number)
        n, dates, *reached = self._values(frame, *aggregates)
        if n and 2 * dates >= n:
            return date, True
        return times.moment(number, times.unit_of(reached, n), strict=True), False

    def _values(self, frame: Frame, *aggregates: str) -> Sequence[Any]:
        """What some aggregates say of the whole frame."""
        return frame.to_native().aggregate(", ".join(aggregates)).fetchall()[0]

    def _replace(self, frame: Frame, column: str, expression: str) -> Frame:
        if column not in frame.columns:
            raise DataError(f"column '{column}' is missing; there are: {', '.join(frame.columns)}")
        return self._replaced(frame.to_native(), column, expression)

    def _replaced(self, relation: Any, column: str, expression: str) -> Frame:
        return _frame(relation.project(f"* REPLACE ({expression} AS {quoted_name(column)})"))

    def _sql(self, sql: str, *values: Any) -> Frame:
        return _frame(self.connection.sql(sql, params=list(values)))

    def close(self) -> None:
        """Close the connection and drop its spill files."""
        self.connection.close()


@contextmanager
def opened(folder: Path, kind: Callable[..., Engine] = Engine) -> Iterator[Engine]:
    """An engine, closed at the end; what it cannot read becomes a DataError that names file and line."""
    engine = kind(folder)
    try:
        yield engine
    except engine.errors as error:
        raise DataError(_reason(str(error))) from error
    finally:
        engine.close()


def arrow_table(frame: Any) -> pa.Table:
    """A pandas, Polars or Arrow frame as an Arrow table."""
    try:
        return nw.from_native(frame, eager_only=True).to_arrow()
    except (TypeError, pa.ArrowException, NarwhalsError) as error:
        kind, reason = f"{type(frame).__module__}.{type(frame).__name__}", " ".join(str(error).split())
        remedy = "hand in a pandas, Polars or Arrow frame with one type a column"
        raise DataError(f"a {kind} cannot be read as a table ({reason}); {remedy}") from error


def column_names(names: Sequence[str], source: str, remedy: str) -> list[str]:
    """The names of columns, given to those without one; DataError if two differ in case at most."""
    names = [name.strip() or f"column{place}" for place, name in enumerate(names)]
    twice = [name for name, n in Counter(name.lower() for name in names).items() if n > 1]
    if twice:
        raise DataError(f"{source} has the column '{twice[0]}' twice (in whatever case); {remedy}")
    return names


def _reason(text: str) -> str:
    """What the engine complains of, without its own remedies, which name settings that we do not have."""
    written = re.search(r'Could not write file \\?"(.+?)\\?": ([^"]+)', text)
    if written:
        return f"'{written[1]}' cannot be written ({written[2].strip()}); make room or choose another data.folder"
    file = re.search(r"\n\s*file = (.+)", text)
    complaint = " ".join(re.split(r"\n+\s*(?:Possible|file =)", text)[0].split())
    if complaint.startswith("Out of Memory"):
        return f"{complaint}; raise data.memory, or make room where data.folder lies"
    place = f"'{file[1]}': " if file else ""
    return f"{place}{complaint}; mend the source, or read it yourself and hand in a frame"


def _numbered(relation: Any) -> Frame:
    return _frame(relation.project("*, row_number() OVER () - 1 AS _row"))


def _frame(relation: Any) -> Frame:
    return nw.from_native(relation)
