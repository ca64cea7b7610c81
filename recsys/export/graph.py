"""From a model to one ONNX graph: raw ids in, ranked raw ids out.

B users, L slots of the requested history, N slots of the cut history, m denied or allowed items, I items with padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from recsys.errors import ConfigError
from recsys.export.external_data import store_constants
from recsys.export.history_cut import HistoryCut
from recsys.export.inputs import EVENT_INPUT, Column
from recsys.export.nodes import MICROSOFT_DOMAIN, ML_DOMAIN, ML_OPSET, OPSET, GraphBuilder
from recsys.export.precision import is_item_table
from recsys.export.scoring import (
    CHUNK,
    DotProductScorer,
    NetworkScorer,
    RankingInputs,
    make_value_info,
    rank_queries,
    rank_scores,
    sum_rows,
)
from recsys.export.torch_graph import TracedGraph, trace_pair_scorer
from recsys.models.base import Model, Trainable

IR_VERSION = 10
SMALLER_TYPES: dict[np.dtype, type] = {np.dtype(np.float32): np.float16, np.dtype(np.int64): np.int32}
ELEMENT_TYPES = {np.int64: TensorProto.INT64, np.float64: TensorProto.DOUBLE, np.object_: TensorProto.STRING}


@dataclass(frozen=True)
class RawIds:
    """Raw ids of items in the order of their numbers, which start at 1, and of users, if the file knows any."""

    items: Sequence[str]
    users: Sequence[str] = ()
    user_rows: Sequence[int] = ()
    """the row of each user in the model's table"""
    targets: Sequence[str] = ()
    """event types whose items count as seen; empty: all"""


def compose_graph(
    model: Model, traced: TracedGraph, raw_ids: RawIds, max_history: int | None, int8: bool, beside: Path | None = None
) -> ModelProto:
    """The whole graph of a model whose tables are rounded as stored.

    It reads the newest `max_history` items of a history (None: all). Tables that one file cannot hold are written to
    `beside`. Raises ConfigError for duplicate ids, and for a graph that is too large if `beside` is None.
    """
    if len(set(raw_ids.items)) < len(raw_ids.items) or "" in raw_ids.items:
        raise ConfigError("raw item ids are empty or occur twice as text; rename them in the source")
    g = GraphBuilder()
    n = len(raw_ids.items) + 1
    history, deny, allow = _look_up_items(g, raw_ids.items)
    padded = g.op("Pad", history, g.ints(0, 0, 0, 1))  # so that even an empty history has a slot
    cut = HistoryCut(g, padded, max_history)
    values = _insert_model(g, model, traced, cut, raw_ids)
    k = g.op("Max", "k", g.ints(0))
    extra = values[1] if len(values) > 1 else None
    inputs = RankingInputs(n, k, _list_hidden(g, history, deny, raw_ids), allow, cut.items, extra)
    outputs = make_output_values()
    if isinstance(model, Trainable):
        table = model.item_vectors().detach().numpy()
        scorer = _make_scorer(g, model, table, n)
        scores, items = rank_queries(g, scorer, values[0], inputs, table if int8 else None)
        if model.dot_product:
            g.add_named("user_vector", "Identity", values[0])
            outputs.append(make_value_info("user_vector", TensorProto.FLOAT, ["batch", table.shape[1]]))
    else:
        scores, items = rank_scores(g, values[0], inputs)
    _name_results(g, scores, items, k, raw_ids.items)
    g.add_named("recognised", "Greater", history, g.ints(0))
    g.add_named("known", "Squeeze", cut.known, g.ints(1))
    _shrink_tables(g, n)
    return _make_proto(g, list(traced.columns.values()), outputs, beside)


def _insert_model(g: GraphBuilder, model: Model, traced: TracedGraph, cut: HistoryCut, raw_ids: RawIds) -> list[str]:
    """Outputs of the model's own graph: scores (B I); or query vectors (B E) and what repeats add to scores (B N)."""
    rows = model.rows()
    if rows is not None:
        return [sum_rows(g, g.constant(rows.numpy(), "items.rows"), cut.items)]
    inputs = {"history": cut.items}
    for name, column in traced.columns.items():
        value = _encode_column(g, column, raw_ids)
        if column.group == "events":
            value = cut.take(value, column.width > 1)
        has_one_code = column.value_type == "category" and column.width == 1
        inputs[name] = g.op("Unsqueeze", value, g.ints(-1)) if has_one_code else value
    return g.insert(traced.graph, inputs, traced.tables)


def _list_hidden(g: GraphBuilder, history: str, deny: str, raw_ids: RawIds) -> str:
    """(B S) items to leave out of the lists, always with 0 among them."""
    seen = history
    if raw_ids.targets:
        seen = g.op("Mul", seen, _look_up(g, EVENT_INPUT, raw_ids.targets, [1] * len(raw_ids.targets)))
    exclude = g.cast(g.op("Unsqueeze", "exclude_seen", g.ints(1)), TensorProto.INT64)
    return g.op("Pad", g.op("Concat", g.op("Mul", seen, exclude), deny, axis=1), g.ints(0, 0, 0, 1))


def make_input_values(columns: Sequence[Column]) -> list[ValueInfoProto]:
    """The inputs of a graph that reads these columns."""
    return [
        make_value_info("history", TensorProto.STRING, ["batch", "length"]),
        *(make_value_info(column.input, ELEMENT_TYPES[column.dtype], column.dims) for column in columns),
        make_value_info("k", TensorProto.INT64, [1]),
        make_value_info("exclude_seen", TensorProto.BOOL, ["batch"]),
        make_value_info("deny", TensorProto.STRING, ["batch", "denied"]),
        make_value_info("allow", TensorProto.STRING, ["allowed"]),
    ]


def make_output_values() -> list[ValueInfoProto]:
    """The outputs that every graph has."""
    return [
        make_value_info("items", TensorProto.STRING, ["batch", "k"]),
        make_value_info("scores", TensorProto.FLOAT, ["batch", "k"]),
        make_value_info("known", TensorProto.INT64, ["batch"]),
        make_value_info("recognised", TensorProto.BOOL, ["batch", "length"]),
    ]


def _look_up_items(g: GraphBuilder, raw_items: Sequence[str]) -> list[str]:
    """Item numbers of history (B L), deny (B m) and allow (m), from a single look-up; 0 for unknown items."""
    flat = [g.op("Reshape", name, g.ints(-1)) for name in ("history", "deny")]
    sizes = [g.op("Reshape", g.op("Size", name), g.ints(1)) for name in ("history", "deny", "allow")]
    numbers = _look_up(g, g.op("Concat", *flat, "allow", axis=0), raw_items, range(1, len(raw_items) + 1))
    pieces = g.ops("Split", numbers, g.op("Concat", *sizes, axis=0), n=3, axis=0)
    shaped = [
        g.op("Reshape", piece, g.op("Shape", name), allowzero=1)
        for piece, name in zip(pieces, ("history", "deny"), strict=False)
    ]
    return [*shaped, pieces[2]]


def _look_up(g: GraphBuilder, text: str, values: Sequence[str], codes: Sequence[int]) -> str:
    """The code of each text, 0 for texts that are not among the values."""
    return g.op(
        "LabelEncoder",
        text,
        domain=ML_DOMAIN,
        keys_strings=list(values) or [""],
        values_int64s=list(codes) or [0],
        default_int64=0,
    )


def _encode_column(g: GraphBuilder, column: Column, raw_ids: RawIds) -> str:
    """A column as the model takes it, except that numbers are still raw: torch standardizes them."""
    if column.value_type == "id":
        return _look_up(g, column.input, raw_ids.users, raw_ids.user_rows)
    if column.value_type != "category":
        return column.input
    assert column.encoder is not None
    values = column.encoder.values
    return _look_up(g, column.input, values, range(1, len(values) + 1))


def _make_scorer(g: GraphBuilder, model: Trainable, table: np.ndarray, n: int) -> DotProductScorer | NetworkScorer:
    """A scorer with the item matrix that the traced graph holds already, or with `table` if it holds none."""
    matrices = (name for name in g.constants if name.endswith(".matrix"))
    matrix = next(matrices, None) or g.constant(table, "items.matrix")
    if model.dot_product:
        return DotProductScorer(matrix)
    padded_matrix = g.op("Pad", matrix, g.ints(0, 0, -len(table) % CHUNK, 0))
    return NetworkScorer(matrix, padded_matrix, trace_pair_scorer(model, table.shape[1]), n)


def _name_results(g: GraphBuilder, scores: str, items: str, k: str, raw_items: Sequence[str]) -> None:
    """Add the outputs `items` (B k), "" where fewer remain, and `scores` (B k), −inf there."""
    is_empty = g.op("IsInf", scores)
    numbers = g.op("Where", is_empty, g.ints(0), items)
    missing = g.op("Sub", k, g.op("Shape", items, start=1))
    ends = g.op("Concat", g.ints(0, 0, 0), missing, axis=0)
    names = g.constant(np.array(["", *raw_items], dtype=object), "names")
    padded = g.op("Pad", numbers, ends)
    g.add_named("items", "Gather", names, padded)
    lowest = g.constant(np.array(-np.inf, np.float32))
    g.add_named("scores", "Pad", scores, ends, lowest)


def _shrink_tables(g: GraphBuilder, n: int) -> None:
    """Store columns of item tables as float16, and item numbers as int32, where that loses nothing.

    The runtime converts them back when it loads the file.
    """
    widening = GraphBuilder(g)
    for name, array in list(g.constants.items()):
        if array.dtype not in SMALLER_TYPES or not is_item_table(array.shape, n):
            continue
        small: np.ndarray = array.astype(SMALLER_TYPES[array.dtype])
        is_exact = (small == array).all(axis=0)
        if is_exact.mean() < 0.5:
            continue
        del g.constants[name]
        element_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        stored = g.constant(np.ascontiguousarray(small[:, is_exact]), f"{name}.stored")
        if is_exact.all():
            widening.add_named(name, "Cast", stored, to=element_type)
            continue
        unchanged = g.constant(np.ascontiguousarray(array[:, ~is_exact]), f"{name}.rest")
        both = widening.op("Concat", widening.cast(stored, element_type), unchanged, axis=1)
        order = np.argsort(np.concatenate([np.flatnonzero(is_exact), np.flatnonzero(~is_exact)]))
        widening.add_named(name, "Gather", both, g.constant(order), axis=1)
    g.nodes[:0] = widening.nodes


def _make_proto(
    g: GraphBuilder, columns: list[Column], outputs: list[ValueInfoProto], beside: Path | None
) -> ModelProto:
    constants = store_constants(g.constants, g.nodes, beside)
    graph = helper.make_graph(g.nodes, "recsys", make_input_values(columns), outputs, constants)
    domains = {"": OPSET, ML_DOMAIN: ML_OPSET, MICROSOFT_DOMAIN: 1}
    used = {node.domain for node in _list_nodes(graph)}
    opsets = [helper.make_opsetid(name, number) for name, number in domains.items() if name in used]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="recsys")


def _list_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """All nodes of a graph and of its subgraphs."""
    nodes = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                nodes += _list_nodes(attribute.g)
    return nodes
