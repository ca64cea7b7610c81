"""From a trained run to model.onnx in its folder, checked before it has that name."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import onnx
import pyarrow as pa
from omegaconf import DictConfig
from onnx import ModelProto

from recsys.config.build import build
from recsys.data.batches.batch import to_tensors
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.data.new_items import DatasetWithNewItems, add_new_items
from recsys.errors import ConfigError
from recsys.export.check import Asker, CheckError, FileScorer, check_answers, check_ranking
from recsys.export.graph import Words, compose
from recsys.export.inputs import Column, columns_of
from recsys.export.manifest import facts, golden, written
from recsys.export.model_card import described, markdown
from recsys.export.reference import Drawn, Reference
from recsys.export.tables import as_stored, check_precision, effective, without_users
from recsys.export.torch_graph import trace
from recsys.models.base import Model, Trainable
from recsys.models.build import model_name, restore
from recsys.models.layers.embedding import UserEmbedding
from recsys.run import Run, atomic
from recsys.serving.recommender import Recommender

log = logging.getLogger(__name__)
FILE = "model.onnx"
TABLES = "model-{}.tables"
"""of a file over 2 GiB"""


def export(run: Run, config: DictConfig) -> None:
    """Write and check the run's file; raises ConfigError, and leaves no new file, if it does not hold the check."""
    check_precision(config.precision)
    log.info("writing %s, and checking it against the model", run.folder / FILE)
    dataset = load_dataset(run.config)
    model = restore(run.config, dataset, run)
    if config.get("new_items"):
        dataset = _with_new_items(model, dataset, run, config.new_items)
    about = {"model": model_name(run.config), "licence": config.licence, "metrics": _metrics(run), "card": _card(run)}
    settings = config.precision, config.users, config.check_users
    with _tables_beside(run.folder) as beside, atomic(run.folder / FILE) as path:
        try:
            proto, manifest = exported(model, dataset, *settings, about, beside)
        except CheckError as error:
            raise ConfigError(f"'{run.folder}' gives no {FILE}: {error}; try precision=float32") from error
        path.write_bytes(proto.SerializeToString())
        Recommender(path).self_test()
        size = path.stat().st_size
    if manifest["beside"]:
        print(f"its tables are in {run.folder / manifest['beside']}, which has to lie beside it")  # noqa: T201
    said = manifest["precision"]
    ndcg = next(name for name in said["file"] if name.startswith("ndcg"))
    rows = any(isinstance(child, UserEmbedding) for child in model.children())
    new = f", {len(dataset.new_ids)} new items" if isinstance(dataset, DatasetWithNewItems) else ""
    unknown = ", whom it does not know: users=true keeps their ids" if rows and not config.users else ""
    print(  # noqa: T201 - the command's answer
        f"{run.folder / FILE}: {size / 2**20:.1f} MiB, {said['tables']}, top 10 overlap {said['overlap@10']:.4f}, "
        f"{ndcg} {said['file'][ndcg]:.4f} through the file on {said['n_users']:,} test users{unknown}{new}"
    )


def _with_new_items(model: Model, dataset: Dataset, run: Run, path: str) -> DatasetWithNewItems:
    """The dataset with the items of a table, which the model takes too."""
    if not isinstance(model, Trainable):
        raise ConfigError(f"{model_name(run.config)} knows items by their events alone and can take no new_items")
    settings = run.config.data
    found = add_new_items(dataset, path, build(settings.columns), build(settings.features))
    model.append(to_tensors(found.new_features))
    return found


def exported(
    model: Model,
    dataset: Dataset,
    precision: str,
    users: bool,
    check_users: int | None,
    about: dict[str, Any],
    beside: Path | None = None,
) -> tuple[ModelProto, dict[str, Any]]:
    """The checked file of a fitted model and its manifest; `about` is what only the run knows, and `beside` a path for
    the tables that one file cannot hold, which is written then only.

    Raises CheckError where it does not answer as the model does.
    """
    own, max_history = model.eval() if users else without_users(model), model.max_history
    tables = effective(own, precision)
    stored = as_stored(own, dataset.n_items, tables)
    every = columns_of(dataset)
    traced = trace(stored, every, dataset)
    words = words_of(dataset, any(column.kind == "id" for column in traced.columns.values()))
    proto = compose(stored, traced, words, max_history, tables == "int8", beside)
    used = list(traced.columns.values())
    outside = beside.name if beside is not None and beside.exists() else None
    manifest = about | facts(dataset, used, max_history) | {"beside": outside}
    asker = Asker(_opened(written(proto, manifest), beside if outside else None))
    n = check_answers(
        asker, Reference(stored, dataset, words, max_history), Drawn(dataset, words, max_history), tables != "int8"
    )
    scorer = FileScorer(asker, dataset, used, words, k=min(11, dataset.n_items))
    ranked = check_ranking(scorer, own, dataset, tables, check_users)
    manifest["precision"] = {"asked": precision, "tables": tables, "requests_checked": n, **ranked}
    manifest["golden"] = _golden(asker.recommender, dataset, used, words)
    return written(proto, manifest), manifest


def _opened(proto: ModelProto, beside: Path | None) -> Recommender:
    """A valid file as it will be answered from: from memory, unless its tables lie outside."""
    content = proto.SerializeToString()
    if beside is None:
        onnx.checker.check_model(content, full_check=True)
        return Recommender(content)
    path = beside.with_suffix(".onnx")
    try:
        path.write_bytes(content)
        onnx.checker.check_model(path, full_check=True)
        return Recommender(path)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _tables_beside(folder: Path) -> Iterator[Path]:
    """A new name for what one file cannot hold: a server may still read the old one, which goes when all went well."""
    old, new = list(folder.glob(TABLES.format("*"))), folder / TABLES.format(uuid4().hex[:8])
    try:
        yield new
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    for path in old:
        path.unlink()


def _golden(recommender: Recommender, dataset: Dataset, used: list[Column], words: Words) -> dict[str, Any]:
    now = int(dataset.timestamps.max()) if dataset.timestamps is not None else 0
    request = golden(used, words.items, now)
    found = recommender.recommend(**request)
    return {"request": request, "answer": {"items": found.items, "scores": found.scores, "known": found.known}}


def words_of(dataset: Dataset, with_users: bool) -> Words:
    """The raw ids of a dataset's items and, if asked for, of its users."""
    items, targets = _text(dataset.raw_items())[: dataset.n_items], dataset.metadata["target_events"] or ()
    if not with_users:
        return Words(items, targets=targets)
    known = np.flatnonzero(dataset.user_rows)
    raw = _text(dataset.raw_users())
    return Words(items, [raw[row] for row in known], dataset.user_rows[known].tolist(), targets)


def _text(raw: pa.ChunkedArray) -> list[str]:
    return [str(value) for value in raw.to_pylist()]


def _card(run: Run) -> str | None:
    """The run's card as Markdown; None for a run that was not ranked."""
    return markdown(described(run)) if (run.folder / "metrics.json").exists() else None


def _metrics(run: Run) -> dict[str, Any]:
    """The run's own metrics on the test part; empty for a run that was not ranked."""
    path = run.folder / "metrics.json"
    test = json.loads(path.read_text())["test"] if path.exists() else {}
    return {name: value for name, value in test.items() if name != "segments"}
