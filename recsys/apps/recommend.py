"""`recsys recommend`: lists for many users at once, from one Parquet file to another."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from recsys.errors import ConfigError
from recsys.run import Run, atomic
from recsys.serving.recommender import CheckedRequest, Recommendation, Recommender, RequestError

Row = dict[str, Any]
LIST_COLUMNS = pa.schema(
    {
        "items": pa.list_(pa.string()),
        "scores": pa.list_(pa.float32()),
        "known": pa.int64(),
        "unknown": pa.list_(pa.string()),
    }
)


def recommend_users(
    run: str,
    users: str,
    out: str,
    k: int,
    exclude_seen: bool | None,
    timestamp: int | None,
    batch_size: int,
    threads: int,
) -> Iterator[str]:
    """Yields one line with the number of lists written. The settings are those of configs/recommend.yaml."""
    options = {"k": k, "exclude_seen": exclude_seen}
    n = write_lists(Run.open(run), Path(users), Path(out), options, timestamp, batch_size, threads)
    yield f"{out}: {n:,} lists"


def write_lists(
    run: Run, users: Path, out: Path, options: Row, timestamp: int | None, batch_size: int, threads: int
) -> int:
    """Writes a list for every row of `users`, in its order, and returns their number; `options` (k, exclude_seen) apply
    to all rows.

    Raises ConfigError, and then leaves no file.
    """
    path = run.folder / "model.onnx"
    if not path.exists():
        raise ConfigError(f"'{run.folder}' has no model.onnx; write it with recsys export run={run.folder}")
    recommender = Recommender(path, threads)
    inputs = recommender.describe()["inputs"]
    source = _open_parquet(users)
    read_row = _make_row_reader(source.schema_arrow.names, run, list(inputs))
    now = {"timestamp": timestamp} if timestamp is not None and "timestamp" in inputs else {}
    copied = [field for field in source.schema_arrow if field.name == "user" or field.name not in inputs]
    schema, done = pa.schema([*copied, *LIST_COLUMNS]), 0
    with (
        atomic(out) as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
        tqdm(total=source.metadata.num_rows, unit=" rows", disable=None) as bar,
    ):
        for batch in source.iter_batches(batch_size):
            rows = enumerate(batch.to_pylist(), start=done + 1)
            questions = [_make_question(recommender, now | read_row(row), options, number) for number, row in rows]
            writer.write_batch(_append_lists(batch, recommender.answer(questions), schema))
            done += len(questions)
            bar.update(len(questions))
    return done


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise ConfigError(f"there is no file '{path}'") from None
    except pa.ArrowInvalid as error:
        raise ConfigError(f"'{path}' is not a Parquet file: {error}") from error


def _make_row_reader(names: list[str], run: Run, inputs: list[str]) -> Callable[[Row], Row]:
    """Returns a function from a row to the inputs that it names; histories that it lacks come from the run's data."""
    columns = [name for name in names if name in inputs]
    if "history" in names:
        return lambda row: {name: row[name] for name in columns}
    if "user" not in names:
        raise ConfigError("users has neither a column 'history' (lists of raw ids) nor 'user' (raw ids)")
    from recsys.data.load import load_dataset
    from recsys.export.user_histories import UserHistories  # imports torch

    past = UserHistories(load_dataset(run.config), inputs)
    return lambda row: past.read(str(row["user"])) | {name: row[name] for name in columns}


def _make_question(recommender: Recommender, row: Row, options: Row, number: int) -> CheckedRequest:
    context = {name: value for name, value in row.items() if name not in ("history", "user")}
    try:
        return recommender.question(row["history"] or [], row.get("user"), context, **options)
    except RequestError as error:
        raise ConfigError(f"row {number:,} of users: {error}") from error


def _append_lists(batch: pa.RecordBatch, answers: list[Recommendation], schema: pa.Schema) -> pa.RecordBatch:
    copied = {name: batch.column(name) for name in schema.names if name not in LIST_COLUMNS.names}
    columns = {name: [getattr(answer, name) for answer in answers] for name in LIST_COLUMNS.names}
    return pa.RecordBatch.from_pydict(copied | columns, schema=schema)
