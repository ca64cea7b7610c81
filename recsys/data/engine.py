"""The embedded data engine: DuckDB behind Narwhals frames, every stage kept as Parquet.

Whatever Narwhals cannot say (reading text, casting what may not parse) stands here, so that the rest of the
pipeline runs unchanged on another engine.
"""

from pathlib import Path
from typing import Any

import duckdb
import narwhals.stable.v2 as nw

from recsys.data.schema import UNITS, Clock, DataError

Frame = nw.LazyFrame[Any]
LINE = "columns={'line': 'VARCHAR'}, delim='\x01', header=false, quote='', escape='', auto_detect=false"


class Engine:
    """A private DuckDB connection that spills to, and keeps its stages in, one work folder."""

    def __init__(self, folder: Path, memory: str = "4GB") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {"memory_limit": memory, "temp_directory": str(folder / "spill")}
        self.connection = duckdb.connect(config=config)
        self.connection.execute("SET TimeZone='UTC'")

    def keep(self, frame: Frame, name: str) -> Frame:
        """The frame, computed once and read back from Parquet: lazy plans stay small."""
        path = self.folder / f"{name}.parquet"
        frame.sink_parquet(path)
        return self._sql("SELECT * FROM read_parquet(?)", str(path))

    def read_parquet(self, path: Path) -> Frame:
        """A Parquet file or a folder of them, with the row's ordinal in `_row`."""
        glob = str(path / "**/*.parquet") if path.is_dir() else str(path)
        return self._sql("SELECT *, row_number() OVER () - 1 AS _row FROM read_parquet(?)", glob)

    def read_csv(self, path: Path, delimiter: str | None = None, **options: Any) -> Frame:
        """A CSV file, every column as text: ids such as 007 keep their zeros."""
        extra = {"sep": delimiter} if delimiter else {}
        relation = self.connection.read_csv(str(path), all_varchar=True, **extra, **options)
        return _frame(relation.project("*, row_number() OVER () - 1 AS _row"))

    def read_sequences(self, path: Path) -> Frame:
        """Columns user, item, _row of a text file with one 'user item item …' line a user."""
        words = f"SELECT row_number() OVER () AS n, regexp_split_to_array(trim(line), '\\s+') AS w FROM read_csv(?, {LINE})"
        events = "SELECT n, w[1] AS user, unnest(w[2:]) AS item, generate_subscripts(w[2:], 1) AS place"
        sql = f"SELECT user, item, row_number() OVER (ORDER BY n, place) - 1 AS _row FROM ({events} FROM ({words}))"
        return self._sql(sql, str(path))

    def read_pairs(self, path: Path) -> Frame:
        """Columns user, item, _row of a text file with one 'user item' line an event."""
        words = f"SELECT regexp_split_to_array(trim(line), '\\s+') AS w FROM read_csv(?, {LINE}) WHERE trim(line) <> ''"
        sql = f"SELECT w[1] AS user, w[2] AS item, row_number() OVER () - 1 AS _row FROM ({words})"
        return self._sql(sql, str(path))

    def from_frame(self, frame: Any) -> Frame:
        """A pandas, Polars or Arrow frame, with the row's ordinal in `_row`."""
        table = nw.from_native(frame, eager_only=True).to_arrow()
        relation = self.connection.from_arrow(table)
        return _frame(relation.project("*, row_number() OVER () - 1 AS _row"))

    def to_number(self, frame: Frame, column: str) -> Frame:
        """The frame with a column as float64; what does not parse is null."""
        return self._replace(frame, column, f'try_cast("{column}" AS DOUBLE)')

    def to_text(self, frame: Frame, column: str) -> Frame:
        """The frame with a column as text, blanks at its ends removed, empty as null."""
        return self._replace(frame, column, f"nullif(trim(CAST(\"{column}\" AS VARCHAR)), '')")

    def to_microseconds(self, frame: Frame, column: str, clock: Clock) -> Frame:
        """The frame with a time column as int64 microseconds since 1970 UTC; what does not parse is null."""
        kind = frame.collect_schema()[column]
        if kind == nw.String:
            numeric = self._count(frame, column, "DOUBLE")
            kind = nw.Float64() if numeric and numeric >= self._count(frame, column, "TIMESTAMPTZ") else kind
        if kind.is_numeric():
            return self._replace(frame, column, self._from_number(frame, column, clock))
        self.connection.execute(f"SET TimeZone='{clock.zone}'")
        moment = f'epoch_us(try_cast("{column}" AS TIMESTAMPTZ))'
        kept = self.keep(self._replace(frame, column, moment), "times")
        self.connection.execute("SET TimeZone='UTC'")
        return kept

    def _from_number(self, frame: Frame, column: str, clock: Clock) -> str:
        unit = clock.unit
        if unit == "auto":
            middle = f'SELECT median(try_cast("{column}" AS DOUBLE)) FROM source'
            size = abs(frame.to_native().query("source", middle).fetchall()[0][0] or 0)
            unit = "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"
        return f'CAST(round(try_cast("{column}" AS DOUBLE) * {UNITS[unit]}) AS BIGINT)'

    def _count(self, frame: Frame, column: str, kind: str) -> int:
        sql = f'SELECT count(try_cast("{column}" AS {kind})) FROM source'
        return int(frame.to_native().query("source", sql).fetchall()[0][0])

    def _replace(self, frame: Frame, column: str, expression: str) -> Frame:
        if column not in frame.columns:
            raise DataError(f"column '{column}' is missing; there are: {', '.join(frame.columns)}")
        return _frame(frame.to_native().project(f'* REPLACE ({expression} AS "{column}")'))

    def _sql(self, sql: str, *values: Any) -> Frame:
        return _frame(self.connection.sql(sql, params=list(values)))

    def close(self) -> None:
        """Close the connection and drop its spill files."""
        self.connection.close()


def _frame(relation: Any) -> Frame:
    return nw.from_native(relation)
