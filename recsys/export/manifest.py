"""The manifest of a file: JSON in its metadata and, for runtimes without metadata, in its output `manifest`."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from recsys.data.dataset import Dataset
from recsys.export.inputs import Column
from recsys.export.nodes import ML_OPSET, OPSET
from recsys.extras import package_version

FORMAT = 1
PACKAGES = ("torch", "onnx", "onnxruntime", "numpy")


def build_data_manifest(dataset: Dataset, columns: Sequence[Column], max_history: int | None) -> dict[str, Any]:
    """The entries of the manifest that follow from the data: inputs, outputs, defaults, fingerprints, versions."""
    return {
        "format": FORMAT,
        "inputs": _describe_inputs(columns, dataset.exclude_seen),
        "outputs": OUTPUTS,
        "n_items": dataset.n_items,
        "max_history": max_history,
        "exclude_seen": dataset.exclude_seen,
        "users": any(column.value_type == "id" for column in columns),
        "zone": dataset.metadata["zone"],
        "data": {"name": dataset.metadata["name"], "fingerprint": dataset.folder.name.rpartition("-")[2]},
        "split_hash": dataset.split_hash,
        "versions": {"recsys": package_version(), **{name: version(name) for name in PACKAGES}},
        "opset": {"ai.onnx": OPSET, "ai.onnx.ml": ML_OPSET},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def attach_manifest(proto: ModelProto, manifest: dict[str, Any]) -> ModelProto:
    """A copy of a file with this manifest in its metadata and as an output."""
    text = json.dumps(manifest)
    copied = ModelProto()
    copied.CopyFrom(proto)
    helper.set_model_props(copied, {"manifest": text})
    graph = copied.graph
    graph.initializer.append(numpy_helper.from_array(np.array([text], object), "manifest.text"))
    graph.node.append(helper.make_node("Identity", ["manifest.text"], ["manifest"]))
    graph.output.append(helper.make_tensor_value_info("manifest", TensorProto.STRING, [1]))
    return copied


def make_golden_request(columns: Sequence[Column], items: Sequence[str], now: int) -> dict[str, Any]:
    """Arguments of `Recommender.recommend` for a self-test: the most popular items, one per hour up to `now`."""
    history = list(items[: min(5, len(items) - 1)])
    features = [column for column in columns if column.value_type != "id"]
    context: dict[str, Any] = {c.input: _typical_value(c, now) for c in features if c.group == "request"}
    for column in features:
        if column.group == "events":
            hours = range(len(history), 0, -1)
            context[column.input] = [_typical_value(column, now - 3600 * hour) for hour in hours]
    return {
        "history": history,
        "user": {column.input: _typical_value(column, now) for column in features if column.group == "user"},
        "context": context,
        "k": 10,
    }


def _typical_value(column: Column, now: int) -> Any:
    if column.value_type == "time":
        return now
    assert column.encoder is not None
    if column.value_type == "number":
        return column.encoder.mean
    return column.encoder.values[0] if column.encoder.values else ""


def _describe_inputs(columns: Sequence[Column], exclude_seen: bool) -> dict[str, Any]:
    def entry(input_type: str, shape: list[Any], default: Any, meaning: str) -> dict[str, Any]:
        return {"type": input_type, "shape": shape, "default": default, "meaning": meaning}

    history = "raw item ids as text, oldest first; '' is padding, unknown ids are skipped, only the newest are read"
    return {
        "history": entry("string", ["batch", "length"], "", history),
        **{column.input: column.describe() for column in columns},
        "k": entry("int64", [1], 10, "items a list; 0: only the user vector, where there is one"),
        "exclude_seen": entry("bool", ["batch"], exclude_seen, "leave out all known items of the history"),
        "deny": entry("string", ["batch", "denied"], "", "raw ids to leave out; '' is padding"),
        "allow": entry("string", ["allowed"], [], "raw ids to choose from, for the whole batch; none: all items"),
    }


OUTPUTS = {
    "items": "raw ids, best first; '' where fewer than k remain",
    "scores": "float32; -inf where fewer than k remain",
    "known": "int64, known items in the history; 0: a newcomer",
    "recognised": "bool, which slots of the history hold a known item",
    "user_vector": "float32, where scores are a dot product",
    "manifest": "this text",
}
