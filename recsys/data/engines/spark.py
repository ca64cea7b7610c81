"""The same engine over a Spark session: large logs are validated, filtered, coded and sorted there, and the arrays are
the same to the byte.

Parquet and Spark frames are read by Spark; other files, which are small, by the process that asks. Stages are written
to `data.folder`, which all of Spark's machines must see.
"""

from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.dataset import dataset

from recsys.data.engines.duckdb import BLANKS, Engine, Frame, arrow_table
from recsys.errors import DataError
from recsys.extras import install_command

ZONE = "spark.sql.session.timeZone"


def _quoted(column: str) -> str:
    """A column's name."""
    escaped = column.replace("`", "``")
    return f"`{escaped}`"


def _date(number: str) -> str:
    """The date that a number such as 20240131 writes, null for other numbers."""
    digits = f"CAST(CAST({number} AS BIGINT) AS STRING)"
    return f"CASE WHEN {number} BETWEEN 19000101 AND 21001231 THEN try_to_timestamp({digits}, 'yyyyMMdd') END"


class SparkEngine(Engine):
    """A Spark session, the active one or, if there is none, one of the `master` that ends with this engine."""

    text = f"nullif(trim(BOTH {BLANKS} FROM CAST({{}} AS STRING)), '')"
    moment = "unix_micros(try_cast({} AS TIMESTAMP))"
    date = staticmethod(_date)
    name = staticmethod(_quoted)

    def __init__(self, folder: Path, master: str) -> None:
        try:
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
        except ModuleNotFoundError as error:
            raise DataError(f"data.spark={master} needs {error.name}; run: {install_command('spark')}") from error
        self.errors = (PySparkException, *Engine.errors)
        active = SparkSession.getActiveSession()
        self.spark: Any = active or SparkSession.builder.master(master).appName("recsys").getOrCreate()
        self.own, self.zone = active is None, self.spark.conf.get(ZONE)
        super().__init__(folder)

    def keep(self, frame: Frame, name: str) -> Frame:
        """The frame, computed once and read back from Parquet: lazy plans stay small."""
        path = str((self.folder / f"{name}.parquet").absolute())
        frame.to_native().write.parquet(path)
        return nw.from_native(self.spark.read.parquet(path))

    def write(self, frame: Frame, path: Path) -> None:
        """Write a frame into one Parquet file, a batch in memory at a time."""
        self.keep(frame, f"{path.stem}_parts")
        parts = dataset(self.folder / f"{path.stem}_parts.parquet", format="parquet")
        with pq.ParquetWriter(path, parts.schema) as writer:
            for batch in parts.to_batches():
                writer.write_batch(batch)

    def read_parquet(self, path: Path) -> Frame:
        """A Parquet file or a folder of them, with the row's ordinal in `_row`: files in the order of their names."""
        from pyspark.sql import functions as F

        read = self.spark.read.option("recursiveFileLookup", True).option("pathGlobFilter", "*.p*q*")
        frame = read.parquet(str(path.absolute()))
        place = F.col("_metadata.file_path"), F.col("_metadata.row_index")
        sizes = frame.groupBy(place[0].alias("file")).agg(F.max(place[1]).alias("last")).orderBy("file").collect()
        starts = np.cumsum([0, *(row["last"] + 1 for row in sizes)]).tolist()
        start = F.create_map(*(F.lit(x) for row, n in zip(sizes, starts, strict=False) for x in (row["file"], n)))
        return nw.from_native(frame.withColumn("_row", start[place[0]] + place[1]) if sizes else frame)

    def read_csv(self, *args: Any, **kwargs: Any) -> Frame:
        """A CSV file, as `Engine.read_csv` has it."""
        return self._handed(super().read_csv(*args, **kwargs))

    def read_json(self, path: Path) -> Frame:
        """A file of JSON objects, as `Engine.read_json` has it."""
        return self._handed(super().read_json(path))

    def read_sequences(self, path: Path) -> Frame:
        """A file of sequences, as `Engine.read_sequences` has it."""
        return self._handed(super().read_sequences(path))

    def read_pairs(self, path: Path) -> Frame:
        """A file of pairs, as `Engine.read_pairs` has it."""
        return self._handed(super().read_pairs(path))

    def from_frame(self, frame: Any) -> Frame:
        """A frame with the row's ordinal in `_row`; rows of a Spark frame have no order, but a number each."""
        from pyspark.sql import functions as F

        if is_spark(frame):
            return nw.from_native(frame.withColumn("_row", F.xxhash64(*frame.columns)))
        return nw.from_native(self._numbered(arrow_table(frame)))

    def close(self) -> None:
        """Give the session back as it was, or end it."""
        super().close()
        if self.own:
            self.spark.stop()
        else:
            self.spark.conf.set(ZONE, self.zone)

    def _handed(self, frame: Frame) -> Frame:
        """What was read here, in Spark."""
        return nw.from_native(self.spark.createDataFrame(frame.collect("pyarrow").to_native()))

    def _numbered(self, table: pa.Table) -> Any:
        return self.spark.createDataFrame(table.append_column("_row", pa.array(np.arange(table.num_rows))))

    def _values(self, frame: Frame, *aggregates: str) -> Any:
        return frame.to_native().selectExpr(*aggregates).first()

    def _replaced(self, relation: Any, column: str, expression: str) -> Frame:
        from pyspark.sql import functions as F

        return nw.from_native(relation.withColumn(column, F.expr(expression)))

    def _set_zone(self, zone: str) -> None:
        super()._set_zone(zone)
        self.spark.conf.set(ZONE, zone)


def is_spark(frame: Any) -> bool:
    """Whether a frame is Spark's."""
    return type(frame).__module__.startswith("pyspark.")


def content_hash(frame: Any) -> str:
    """A text that changes whenever rows of a Spark frame do; their order has no meaning."""
    from pyspark.sql import functions as F

    numbers = F.xxhash64(*frame.columns).cast("decimal(38,0)")
    count, total = frame.select(F.count(F.lit(1)), F.sum(numbers)).first()
    return f"{frame.schema.json()}:{count}:{total}"
