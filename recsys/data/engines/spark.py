"""The engine over a Spark session, for large logs: validates, filters, codes and sorts them with the same result.

Spark reads Parquet files and Spark frames; this process reads other files, which should be small. Stages are written
to `data.folder`, which all of Spark's machines must see.
"""

from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.dataset import dataset
from typing_extensions import override

from recsys.data.engines.duckdb import BLANKS, Engine, Frame
from recsys.data.engines.tables import to_arrow_table
from recsys.errors import DataError
from recsys.extras import install_command

TIME_ZONE = "spark.sql.session.timeZone"


def _quote_spark_name(column: str) -> str:
    """A column's name in backticks."""
    escaped = column.replace("`", "``")
    return f"`{escaped}`"


def _build_spark_date_sql(number: str) -> str:
    """SQL for the date that a number such as 20240131 means, null for other numbers."""
    digits = f"CAST(CAST({number} AS BIGINT) AS STRING)"
    return f"CASE WHEN {number} BETWEEN 19000101 AND 21001231 THEN try_to_timestamp({digits}, 'yyyyMMdd') END"


class SparkEngine(Engine):
    """The active Spark session or, if there is none, a session of the `master` that ends with this engine."""

    text_sql = f"nullif(trim(BOTH {BLANKS} FROM CAST({{}} AS STRING)), '')"
    time_sql = "unix_micros(try_cast({} AS TIMESTAMP))"
    date_sql = staticmethod(_build_spark_date_sql)
    quote = staticmethod(_quote_spark_name)

    def __init__(self, folder: Path, master: str) -> None:
        try:
            from pyspark.errors import PySparkException
            from pyspark.sql import SparkSession
        except ModuleNotFoundError as error:
            raise DataError(f"data.spark={master} needs {error.name}; run: {install_command('spark')}") from error
        self.errors = (PySparkException, *Engine.errors)
        active = SparkSession.getActiveSession()
        self.spark: Any = active or SparkSession.builder.master(master).appName("recsys").getOrCreate()
        self.ends_session, self.zone = active is None, self.spark.conf.get(TIME_ZONE)
        super().__init__(folder)

    @override
    def keep(self, frame: Frame, name: str) -> Frame:
        path = str((self.folder / f"{name}.parquet").absolute())
        frame.to_native().write.parquet(path)
        return nw.from_native(self.spark.read.parquet(path))

    @override
    def write(self, frame: Frame, path: Path) -> None:
        self.keep(frame, f"{path.stem}_parts")
        parts = dataset(self.folder / f"{path.stem}_parts.parquet", format="parquet")
        with pq.ParquetWriter(path, parts.schema) as writer:
            for batch in parts.to_batches():
                writer.write_batch(batch)

    @override
    def read_parquet(self, path: Path) -> Frame:
        from pyspark.sql import functions as F

        read = self.spark.read.option("recursiveFileLookup", True).option("pathGlobFilter", "*.p*q*")
        frame = read.parquet(str(path.absolute()))
        file, row = F.col("_metadata.file_path"), F.col("_metadata.row_index")
        sizes = frame.groupBy(file.alias("file")).agg(F.max(row).alias("last")).orderBy("file").collect()
        starts = np.cumsum([0, *(size["last"] + 1 for size in sizes)]).tolist()
        start = F.create_map(*(F.lit(x) for size, n in zip(sizes, starts, strict=False) for x in (size["file"], n)))
        return nw.from_native(frame.withColumn("_row", start[file] + row) if sizes else frame)

    @override
    def read_csv(self, *args: Any, **kwargs: Any) -> Frame:
        return self._to_spark(super().read_csv(*args, **kwargs))

    @override
    def read_json(self, path: Path) -> Frame:
        return self._to_spark(super().read_json(path))

    @override
    def read_sequences(self, path: Path) -> Frame:
        return self._to_spark(super().read_sequences(path))

    @override
    def read_pairs(self, path: Path) -> Frame:
        return self._to_spark(super().read_pairs(path))

    @override
    def from_frame(self, frame: Any) -> Frame:
        from pyspark.sql import functions as F

        if is_spark_frame(frame):
            # rows of a Spark frame have no order: a hash of each row takes its place
            return nw.from_native(frame.withColumn("_row", F.xxhash64(*frame.columns)))
        return nw.from_native(self._with_row_numbers(to_arrow_table(frame)))

    @override
    def close(self) -> None:
        super().close()
        if self.ends_session:
            self.spark.stop()
        else:
            self.spark.conf.set(TIME_ZONE, self.zone)

    def _to_spark(self, frame: Frame) -> Frame:
        """A frame of this process as a frame of Spark."""
        return nw.from_native(self.spark.createDataFrame(frame.collect("pyarrow").to_native()))

    def _with_row_numbers(self, table: pa.Table) -> Any:
        return self.spark.createDataFrame(table.append_column("_row", pa.array(np.arange(table.num_rows))))

    @override
    def _aggregate(self, frame: Frame, *aggregates: str) -> Any:
        return frame.to_native().selectExpr(*aggregates).first()

    @override
    def _with_expression(self, relation: Any, column: str, expression: str) -> Frame:
        from pyspark.sql import functions as F

        return nw.from_native(relation.withColumn(column, F.expr(expression)))

    @override
    def _set_zone(self, zone: str) -> None:
        super()._set_zone(zone)
        self.spark.conf.set(TIME_ZONE, zone)


def is_spark_frame(frame: Any) -> bool:
    """Whether a frame belongs to Spark."""
    return type(frame).__module__.startswith("pyspark.")


def hash_spark_frame(frame: Any) -> str:
    """A text that changes whenever the rows of a Spark frame change; their order does not matter."""
    from pyspark.sql import functions as F

    numbers = F.xxhash64(*frame.columns).cast("decimal(38,0)")
    count, total = frame.select(F.count(F.lit(1)), F.sum(numbers)).first()
    return f"{frame.schema.json()}:{count}:{total}"
