"""Lists for many users at once: Parquet in, Parquet out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from recsys.errors import ConfigError
from recsys.run import Run, atomic
from recsys.serving.recommender import Question, Recommendation, Recommender, RequestError

Row = dict[str, Any]
ANSWERS = pa.schema(
    {
        "items": pa.list_(pa.string()),
        "scores": pa.list_(pa.float32()),
        "known": pa.int64(),
        "unknown": pa.list_(pa.string()),
    }
)


def recommend(
    run: Run, users: Path, out: Path, asked: Row, timestamp: int | None, batch_size: int, threads: int
) -> int:
    """Write a list for every row of `users`, in its order, `asked` (k, exclude_seen) alike for all, and tell how many;
    settings as in configs/recommend.yaml. Raises ConfigError, and then leaves no file.
    """
    path = run.folder / "model.onnx"
    if not path.exists():
        raise ConfigError(f"'{run.folder}' has no model.onnx; write it with recsys export run={run.folder}")
    recommender = Recommender(path, threads)
    inputs = recommender.describe()["inputs"]
    source = _opened(users)
    read = _reader(source.schema_arrow.names, run, list(inputs))
    now = {"timestamp": timestamp} if timestamp is not None and "timestamp" in inputs else {}
    kept = [field for field in source.schema_arrow if field.name == "user" or field.name not in inputs]
    schema, done = pa.schema([*kept, *ANSWERS]), 0
    with (
        atomic(out) as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
        tqdm(total=source.metadata.num_rows, unit=" rows", disable=None) as bar,
    ):
        for batch in source.iter_batches(batch_size):
            rows = enumerate(batch.to_pylist(), start=done + 1)
            questions = [_question(recommender, now | read(row), asked, number) for number, row in rows]
            writer.write_batch(_joined(batch, recommender.answer(questions), schema))
            done += len(questions)
            bar.update(len(questions))
    return done


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise ConfigError(f"there is no file '{path}'") from None
    except pa.ArrowInvalid as error:
        raise ConfigError(f"'{path}' is no Parquet file: {error}") from error


def _reader(names: list[str], run: Run, inputs: list[str]) -> Callable[[Row], Row]:
    """From a row to the inputs that it names; histories that it lacks are those of the run's data."""
    own = [name for name in names if name in inputs]
    if "history" in names:
        return lambda row: {name: row[name] for name in own}
    if "user" not in names:
        raise ConfigError("users has neither a column 'history' (lists of raw ids) nor 'user' (raw ids)")
    from recsys.data.load import load_dataset
    from recsys.export.user_histories import Past  # and with it torch

    past = Past(load_dataset(run.config), inputs)
    return lambda row: past.of(str(row["user"])) | {name: row[name] for name in own}


def _question(recommender: Recommender, row: Row, asked: Row, number: int) -> Question:
    context = {name: value for name, value in row.items() if name not in ("history", "user")}
    try:
        return recommender.question(row["history"] or [], row.get("user"), context, **asked)
    except RequestError as error:
        raise ConfigError(f"row {number:,} of users: {error}") from error


def _joined(batch: pa.RecordBatch, answers: list[Recommendation], schema: pa.Schema) -> pa.RecordBatch:
    kept = {name: batch.column(name) for name in schema.names if name not in ANSWERS.names}
    found = {name: [getattr(answer, name) for answer in answers] for name in ANSWERS.names}
    return pa.RecordBatch.from_pydict(kept | found, schema=schema)
