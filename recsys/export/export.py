"""Writes model.onnx into the folder of a trained run, and checks it before it gets that name."""

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
from recsys.export.check import CheckError, FileScorer, RequestSender, check_answers, check_ranking
from recsys.export.graph import RawIds, compose_graph
from recsys.export.inputs import Column, read_columns
from recsys.export.manifest import attach_manifest, build_data_manifest, make_golden_request
from recsys.export.model_card import build_card, render_card_markdown
from recsys.export.precision import check_precision, drop_users, resolve_precision, round_tables
from recsys.export.reference import RandomRequests, TorchReference
from recsys.export.torch_graph import trace_model
from recsys.models.base import Model, Trainable
from recsys.models.build import get_model_name, restore
from recsys.models.layers.embedding import UserEmbedding
from recsys.run import Run, atomic
from recsys.serving.recommender import Recommender

log = logging.getLogger(__name__)
MODEL_FILE = "model.onnx"
TABLES_FILE = "model-{}.tables"
"""the second file of a model over 2 GiB"""


def export_run(run: Run, config: DictConfig) -> None:
    """Write model.onnx into a run's folder and check it against the model.

    Raises ConfigError, and leaves no new file, if the check fails.
    """
    check_precision(config.precision)
    log.info("writing %s and checking it against the model", run.folder / MODEL_FILE)
    dataset = load_dataset(run.config)
    model = restore(run.config, dataset, run)
    if config.get("new_items"):
        dataset = _add_new_items(model, dataset, run, config.new_items)
    about = {
        "model": get_model_name(run.config),
        "licence": config.licence,
        "metrics": _metrics(run),
        "card": _card(run),
    }
    settings = config.precision, config.users, config.check_users
    with _tables_path(run.folder) as beside, atomic(run.folder / MODEL_FILE) as path:
        try:
            proto, manifest = build_model_file(model, dataset, *settings, about, beside)
        except CheckError as error:
            raise ConfigError(
                f"'{run.folder}' cannot be exported to {MODEL_FILE}: {error}; try precision=float32"
            ) from error
        path.write_bytes(proto.SerializeToString())
        Recommender(path).self_test()
        size = path.stat().st_size
    has_user_rows = any(isinstance(child, UserEmbedding) for child in model.children())
    _print_result(run, dataset, manifest, size, ignores_users=has_user_rows and not config.users)


def _print_result(run: Run, dataset: Dataset, manifest: dict[str, Any], size: int, ignores_users: bool) -> None:
    if manifest["beside"]:
        path = run.folder / manifest["beside"]
        print(f"the tables are in {path}, which must lie next to {MODEL_FILE}")  # noqa: T201 - the command's answer
    precision = manifest["precision"]
    ndcg = next(name for name in precision["file"] if name.startswith("ndcg"))
    unknown = "; the file does not know users (users=true keeps their ids)" if ignores_users else ""
    new = f"; {len(dataset.new_ids)} new items" if isinstance(dataset, DatasetWithNewItems) else ""
    print(  # noqa: T201 - the command's answer
        f"{run.folder / MODEL_FILE}: {size / 2**20:.1f} MiB, {precision['tables']}, "
        f"{precision['overlap@10']:.2%} of its top 10 are the model's, "
        f"{ndcg} {precision['file'][ndcg]:.4f} through the file on {precision['n_users']:,} test users{unknown}{new}"
    )


def _add_new_items(model: Model, dataset: Dataset, run: Run, path: str) -> DatasetWithNewItems:
    """The dataset with the items of a table, which are appended to the model too."""
    if not isinstance(model, Trainable):
        raise ConfigError(
            f"{get_model_name(run.config)} knows items by their events alone and cannot take new_items; use two_tower"
        )
    settings = run.config.data
    larger = add_new_items(dataset, path, build(settings.columns), build(settings.features))
    model.append(to_tensors(larger.new_features))
    return larger


def build_model_file(
    model: Model,
    dataset: Dataset,
    precision: str,
    users: bool,
    check_users: int | None,
    about: dict[str, Any],
    beside: Path | None = None,
) -> tuple[ModelProto, dict[str, Any]]:
    """The checked file of a fitted model, and its manifest.

    `users` keeps raw user ids, `check_users` is the number of test users that are ranked again (None: all), and `about`
    has the manifest entries of the run. Tables are written to `beside` only if one file cannot hold them. Raises
    CheckError if the file does not return what the model returns.
    """
    exported_model, max_history = model.eval() if users else drop_users(model), model.max_history
    tables = resolve_precision(exported_model, precision)
    rounded = round_tables(exported_model, dataset.n_items, tables)
    traced = trace_model(rounded, read_columns(dataset), dataset)
    columns = list(traced.columns.values())
    raw_ids = read_raw_ids(dataset, any(column.value_type == "id" for column in columns))
    proto = compose_graph(rounded, traced, raw_ids, max_history, tables == "int8", beside)
    tables_path = beside if beside is not None and beside.exists() else None
    manifest = about | build_data_manifest(dataset, columns, max_history)
    manifest["beside"] = tables_path.name if tables_path else None
    sender = RequestSender(_load(attach_manifest(proto, manifest), tables_path))
    reference = TorchReference(rounded, dataset, raw_ids, max_history)
    random_requests = RandomRequests(dataset, raw_ids, max_history)
    n_checked = check_answers(sender, reference, random_requests, tables != "int8")
    scorer = FileScorer(sender, dataset, columns, raw_ids, k=min(11, dataset.n_items))
    ranking = check_ranking(scorer, exported_model, dataset, tables, check_users)
    manifest["precision"] = {"asked": precision, "tables": tables, "requests_checked": n_checked, **ranking}
    manifest["golden"] = _golden_entry(sender.recommender, dataset, columns, raw_ids)
    return attach_manifest(proto, manifest), manifest


def _load(proto: ModelProto, tables: Path | None) -> Recommender:
    """A valid file, loaded from memory or, if its tables are in a second file, from disk."""
    content = proto.SerializeToString()
    if tables is None:
        onnx.checker.check_model(content, full_check=True)
        return Recommender(content)
    path = tables.with_suffix(".onnx")
    try:
        path.write_bytes(content)
        onnx.checker.check_model(path, full_check=True)
        return Recommender(path)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _tables_path(folder: Path) -> Iterator[Path]:
    """A new path for tables that one file cannot hold; earlier tables, which a server may still read, go on success."""
    earlier, new = list(folder.glob(TABLES_FILE.format("*"))), folder / TABLES_FILE.format(uuid4().hex[:8])
    try:
        yield new
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    for path in earlier:
        path.unlink()


def _golden_entry(recommender: Recommender, dataset: Dataset, columns: list[Column], raw_ids: RawIds) -> dict[str, Any]:
    """A request and its answer, by which `Recommender.self_test` checks a runtime."""
    now = int(dataset.timestamps.max()) if dataset.timestamps is not None else 0
    request = make_golden_request(columns, raw_ids.items, now)
    answer = recommender.recommend(**request)
    return {"request": request, "answer": {"items": answer.items, "scores": answer.scores, "known": answer.known}}


def read_raw_ids(dataset: Dataset, with_users: bool) -> RawIds:
    """The raw ids of a dataset's items and, on request, of its users with rows in the model."""
    items, targets = _to_text(dataset.raw_items())[: dataset.n_items], dataset.metadata["target_events"] or ()
    if not with_users:
        return RawIds(items, targets=targets)
    numbers = np.flatnonzero(dataset.user_rows)
    users = _to_text(dataset.raw_users())
    return RawIds(items, [users[number] for number in numbers], dataset.user_rows[numbers].tolist(), targets)


def _to_text(raw: pa.ChunkedArray) -> list[str]:
    return [str(value) for value in raw.to_pylist()]


def _card(run: Run) -> str | None:
    """The run's model card as Markdown; None for a run without metrics."""
    return render_card_markdown(build_card(run)) if (run.folder / "metrics.json").exists() else None


def _metrics(run: Run) -> dict[str, Any]:
    """The run's metrics on the test part; empty for a run without metrics."""
    path = run.folder / "metrics.json"
    test = json.loads(path.read_text())["test"] if path.exists() else {}
    return {name: value for name, value in test.items() if name != "segments"}
