"""From a model to one ONNX graph: raw ids in, ranked raw ids out.

B users, L history slots as asked, N slots of the cut history, m denied or allowed items, I items with padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from recsys.errors import ConfigError
from recsys.export.external_data import tensors
from recsys.export.histories import Cut
from recsys.export.inputs import EVENT, Column
from recsys.export.nodes import MICROSOFT, ML, ML_OPSET, OPSET, Nodes
from recsys.export.scoring import CHUNK, Asked, Network, Product, rank, rank_scores, sum_of_rows, typed
from recsys.export.tables import is_table
from recsys.export.torch_graph import Traced, trace_pairs
from recsys.models.base import Model, Trainable

IR = 10
SMALLER: dict[np.dtype, type] = {np.dtype(np.float32): np.float16, np.dtype(np.int64): np.int32}
KINDS = {np.int64: TensorProto.INT64, np.float64: TensorProto.DOUBLE, np.object_: TensorProto.STRING}


@dataclass(frozen=True)
class Words:
    """Raw ids of items in the order of their numbers, which start at 1, and of users (none where nobody is known)."""

    items: Sequence[str]
    users: Sequence[str] = ()
    user_rows: Sequence[int] = ()
    targets: Sequence[str] = ()
    """types of events whose items count as seen; none: all"""


def compose(
    model: Model, traced: Traced, words: Words, max_history: int | None, int8: bool, beside: Path | None = None
) -> ModelProto:
    """The whole graph of a model whose tables are as stored; `max_history` None reads all of a history. What would be
    over 2 GiB leaves its tables in the file `beside`.

    Raises ConfigError for duplicate ids, and for what is too large where there is no such file.
    """
    if len(set(words.items)) < len(words.items) or "" in words.items:
        raise ConfigError("raw item ids are empty or occur twice as text; rename them in the source")
    g = Nodes()
    n = len(words.items) + 1
    history, deny, allow = _numbers(g, words.items)
    padded = g.op("Pad", history, g.ints(0, 0, 0, 1))  # so that there is a slot in an empty history
    cut = Cut(g, padded, max_history)
    answer = _answer(g, model, traced, cut, words)
    k = g.op("Max", "k", g.ints(0))
    extra = answer[1] if len(answer) > 1 else None
    asked = Asked(n, k, _hide(g, history, deny, words), allow, cut.items, extra)
    outputs = output_values()
    if isinstance(model, Trainable):
        table = model.item_vectors().detach().numpy()
        scores, items = rank(g, _way(g, model, table), answer[0], asked, table if int8 else None)
        if model.dot_product:
            g.named("user_vector", "Identity", answer[0])
            outputs.append(typed("user_vector", TensorProto.FLOAT, ["batch", table.shape[1]]))
    else:
        scores, items = rank_scores(g, answer[0], asked)
    _name_results(g, scores, items, k, words.items)
    g.named("recognised", "Greater", history, g.ints(0))
    g.named("known", "Squeeze", cut.known, g.ints(1))
    _store_tables(g, n)
    return _model(g, list(traced.columns.values()), outputs, beside)


def _answer(g: Nodes, model: Model, traced: Traced, cut: Cut, words: Words) -> list[str]:
    """What the traced graph answers, or the sums of rows: query vectors and what repeats add, or scores."""
    rows = model.rows()
    if rows is not None:
        return [sum_of_rows(g, g.constant(rows.numpy(), "items.rows"), cut.items)]
    inputs = {"history": cut.items}
    for name, column in traced.columns.items():
        value = _coded(g, column, words)
        if column.part == "events":
            value = cut.take(value, column.width > 1)
        one_code = column.kind == "category" and column.width == 1
        inputs[name] = g.op("Unsqueeze", value, g.ints(-1)) if one_code else value
    return g.insert(traced.graph, inputs, traced.tables)


def _hide(g: Nodes, history: str, deny: str, words: Words) -> str:
    """(B S) items to leave out of the lists, 0 among them."""
    seen = history
    if words.targets:
        seen = g.op("Mul", seen, _encoded(g, EVENT, words.targets, [1] * len(words.targets)))
    exclude = g.cast(g.op("Unsqueeze", "exclude_seen", g.ints(1)), TensorProto.INT64)
    return g.op("Pad", g.op("Concat", g.op("Mul", seen, exclude), deny, axis=1), g.ints(0, 0, 0, 1))


def input_values(columns: Sequence[Column]) -> list[ValueInfoProto]:
    """The inputs of a graph that reads these columns."""
    return [
        typed("history", TensorProto.STRING, ["batch", "length"]),
        *(typed(column.input, KINDS[column.dtype], column.dims) for column in columns),
        typed("k", TensorProto.INT64, [1]),
        typed("exclude_seen", TensorProto.BOOL, ["batch"]),
        typed("deny", TensorProto.STRING, ["batch", "denied"]),
        typed("allow", TensorProto.STRING, ["allowed"]),
    ]


def output_values() -> list[ValueInfoProto]:
    """The outputs that every graph has."""
    return [
        typed("items", TensorProto.STRING, ["batch", "k"]),
        typed("scores", TensorProto.FLOAT, ["batch", "k"]),
        typed("known", TensorProto.INT64, ["batch"]),
        typed("recognised", TensorProto.BOOL, ["batch", "length"]),
    ]


def _numbers(g: Nodes, raw: Sequence[str]) -> list[str]:
    """Numbers of history (B L), deny (B m) and allow (m), by one look-up; 0 for what is not known."""
    flat = [g.op("Reshape", name, g.ints(-1)) for name in ("history", "deny")]
    sizes = [g.op("Reshape", g.op("Size", name), g.ints(1)) for name in ("history", "deny", "allow")]
    numbers = _encoded(g, g.op("Concat", *flat, "allow", axis=0), raw, range(1, len(raw) + 1))
    parts = g.ops("Split", numbers, g.op("Concat", *sizes, axis=0), n=3, axis=0)
    shaped = [
        g.op("Reshape", part, g.op("Shape", name), allowzero=1)
        for part, name in zip(parts, ("history", "deny"), strict=False)
    ]
    return [*shaped, parts[2]]


def _encoded(g: Nodes, text: str, values: Sequence[str], codes: Sequence[int]) -> str:
    return g.op(
        "LabelEncoder",
        text,
        domain=ML,
        keys_strings=list(values) or [""],
        values_int64s=list(codes) or [0],
        default_int64=0,
    )


def _coded(g: Nodes, column: Column, words: Words) -> str:
    """A column as the model takes it, but for what torch does to numbers."""
    if column.kind == "id":
        return _encoded(g, column.input, words.users, words.user_rows)
    if column.kind != "category":
        return column.input
    assert column.encoder is not None
    values = column.encoder.values
    return _encoded(g, column.input, values, range(1, len(values) + 1))


def _way(g: Nodes, model: Trainable, table: np.ndarray) -> Product | Network:
    """How all items are scored, by the item matrix that the traced graph holds already or that is added here."""
    same = (name for name in g.constants if name.endswith(".matrix"))
    matrix = next(same, None) or g.constant(table, "items.matrix")
    if model.dot_product:
        return Product(matrix)
    whole = g.op("Pad", matrix, g.ints(0, 0, -len(table) % CHUNK, 0))
    return Network(matrix, whole, trace_pairs(model, table.shape[1]))


def _name_results(g: Nodes, scores: str, items: str, k: str, raw: Sequence[str]) -> None:
    """Outputs `items` (B k), "" where fewer remain, and `scores` (B k), −inf there."""
    none = g.op("IsInf", scores)
    found = g.op("Where", none, g.ints(0), items)
    missing = g.op("Sub", k, g.op("Shape", items, start=1))
    ends = g.op("Concat", g.ints(0, 0, 0), missing, axis=0)
    names = g.constant(np.array(["", *raw], dtype=object), "names")
    full = g.op("Pad", found, ends)
    g.named("items", "Gather", names, full)
    lowest = g.constant(np.array(-np.inf, np.float32))
    g.named("scores", "Pad", scores, ends, lowest)


def _store_tables(g: Nodes, n: int) -> None:
    """Columns of item tables that float16 holds exactly are stored so, numbers of items as int32; the runtime widens
    them as it loads the file.
    """
    widened = Nodes(g)
    for name, array in list(g.constants.items()):
        if array.dtype not in SMALLER or not is_table(array.shape, n):
            continue
        small: np.ndarray = array.astype(SMALLER[array.dtype])
        exact = (small == array).all(axis=0)
        if exact.mean() < 0.5:
            continue
        del g.constants[name]
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        stored = g.constant(np.ascontiguousarray(small[:, exact]), f"{name}.stored")
        if exact.all():
            widened.named(name, "Cast", stored, to=kind)
            continue
        rest = g.constant(np.ascontiguousarray(array[:, ~exact]), f"{name}.rest")
        both = widened.op("Concat", widened.cast(stored, kind), rest, axis=1)
        order = np.argsort(np.concatenate([np.flatnonzero(exact), np.flatnonzero(~exact)]))
        widened.named(name, "Gather", both, g.constant(order), axis=1)
    g.nodes[:0] = widened.nodes


def _model(g: Nodes, columns: list[Column], outputs: list[ValueInfoProto], beside: Path | None) -> ModelProto:
    constants = tensors(g.constants, g.nodes, beside)
    graph = helper.make_graph(g.nodes, "recsys", input_values(columns), outputs, constants)
    domains = {"": OPSET, ML: ML_OPSET, MICROSOFT: 1}
    used = {node.domain for node in _all_nodes(graph)}
    opsets = [helper.make_opsetid(name, number) for name, number in domains.items() if name in used]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="recsys")


def _all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = list(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += _all_nodes(attribute.g)
    return found
