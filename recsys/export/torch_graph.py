"""The part of a file that torch exports: from codes of items and columns to query vectors or scores.

B users, N slots of the cut history, I items with padding, E dimensions, C candidates.
"""

import logging
import warnings
from dataclasses import dataclass

import numpy as np
import onnx_ir
import torch
from onnx import GraphProto, ModelProto
from torch import Tensor, nn
from torch.onnx import ONNXProgram
from typing_extensions import override

from recsys.data.dataset import Dataset
from recsys.data.features import TIME_FEATURES
from recsys.export.inputs import EVENT_INPUT, CalendarEncoder, Column, Standardizer
from recsys.export.nodes import OPSET
from recsys.models.base import Model, ModelInputs, Trainable

MIN_TABLE_BYTES = 2**20
"""size from which a constant bypasses protobuf"""


@dataclass(frozen=True)
class TracedGraph:
    """A graph exported by torch, and the columns that it reads besides `history`."""

    graph: GraphProto
    columns: dict[str, Column]
    """by the graph's names of inputs; the event type is always among them, since it decides which items are seen"""
    tables: dict[str, np.ndarray]
    """constants too large for protobuf, by their names in the graph"""


class ModelGraph(nn.Module):
    """A model as a function of a cut history (B N) and of columns.

    Returns the scores (B I) of a closed form; or query vectors (B E) and, where repeats are ranked, the amounts added
    to the scores of the items in the history (B N).
    """

    def __init__(self, model: Model, columns: list[Column], dataset: Dataset) -> None:
        super().__init__()
        self.model, self.columns = model, columns
        self.derived = [name for name in dataset.encoders["context"] if name in TIME_FEATURES]
        self.clock = CalendarEncoder(dataset.metadata["zone"]) if self.derived else None
        self.scalers = nn.ModuleList(
            Standardizer(column.encoder) if column.value_type == "number" and column.encoder else nn.Identity()
            for column in columns
        )

    @override
    def forward(self, history: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        inputs = self._read_inputs(history, values)
        if not isinstance(self.model, Trainable):
            return (self.model(inputs),)
        inputs = inputs.at_end()
        query = self.model.encode(inputs)  # (B 1 E)
        bonus = self.model.slot_scores(query, inputs)
        return (query[:, 0],) if bonus is None else (query[:, 0], bonus[:, 0])

    def _read_inputs(self, history: Tensor, values: tuple[Tensor, ...]) -> ModelInputs:
        user: dict[str, Tensor] = {}
        events: dict[str, Tensor] = {}
        request: dict[str, Tensor] = {}
        groups = {"user": user, "events": events, "request": request}
        for column, scaler, value in zip(self.columns, self.scalers, values, strict=True):
            coded = scaler(value)
            # requests get an axis for their one query per user
            groups[column.group][column.name] = coded[:, None] if column.group == "request" else coded
        for name in self.derived:
            assert self.clock is not None
            events[name], request[name] = (
                self.clock(name, events["timestamp"]),
                self.clock(name, request["timestamp"]),
            )
        return ModelInputs(user, history, events, request)


class PairScorer(nn.Module):
    """Scores (B C) of query vectors (B E) and item vectors (C E)."""

    def __init__(self, model: Trainable) -> None:
        super().__init__()
        self.model = model

    @override
    def forward(self, query: Tensor, items: Tensor) -> Tensor:
        return self.model.score(query, items)


def trace_model(model: Model, columns: list[Column], dataset: Dataset) -> TracedGraph:
    """The graph of a model for histories of any length from 1 on, in batches of any size.

    The graph is empty if scores are sums of rows.
    """
    if model.rows() is not None:
        event_columns = {column.input: column for column in columns if column.input == EVENT_INPUT}
        return TracedGraph(GraphProto(), event_columns, {})
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    event_dims = {0: batch, 1: length}
    dims = [event_dims if column.group == "events" else {0: batch} for column in columns]
    columns_by_name = {f"column_{n}": column for n, column in enumerate(columns)}
    examples = torch.ones(3, 5, dtype=torch.long), *map(_make_example, columns)
    names = ["history", *columns_by_name]
    program = _run_exporter(ModelGraph(model, columns, dataset), examples, names, (event_dims, tuple(dims)))
    tables = _take_out_tables(program)
    graph = _check_batch_size(program.model_proto).graph
    read_names = {name for node in graph.node for name in node.input}
    read_columns = {
        name: column for name, column in columns_by_name.items() if name in read_names or column.input == EVENT_INPUT
    }
    return TracedGraph(graph, read_columns, tables)


def trace_pair_scorer(model: Trainable, width: int) -> GraphProto:
    """The graph of a model's `score`, with inputs `query` and `items` of this width."""
    dims = ({0: torch.export.Dim("batch")}, {0: torch.export.Dim("candidates")})
    examples = torch.zeros(3, width), torch.zeros(5, width)
    return export_to_onnx(PairScorer(model), examples, ["query", "items"], dims).graph


def _make_example(column: Column) -> Tensor:
    shape = (3, 5) if column.group == "events" else (3,)
    if column.value_type == "number":
        return torch.zeros(shape, dtype=torch.double)
    return torch.zeros(*shape, column.width, dtype=torch.long) if column.encoder else torch.ones(shape).long()


def export_to_onnx(module: nn.Module, examples: tuple[Tensor, ...], names: list[str], shapes: object) -> ModelProto:
    """A module as ONNX with all its constants; TypeError if it fixes the size of the batch.

    `names` are those of its inputs, and `shapes` says which of their dimensions vary, as `torch.onnx.export` takes it.
    """
    return _check_batch_size(_run_exporter(module, examples, names, shapes).model_proto)


def _run_exporter(module: nn.Module, examples: tuple[Tensor, ...], names: list[str], shapes: object) -> ONNXProgram:
    """What torch exports; its many log lines and warnings are silenced."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            examples,
            input_names=names,
            dynamic_shapes=shapes,  # type: ignore[arg-type]
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program


def _take_out_tables(program: ONNXProgram) -> dict[str, np.ndarray]:
    """The large constants of a graph, which keeps their names with an empty array each."""
    tables: dict[str, np.ndarray] = {}
    for name, value in program.model.graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and tensor.nbytes >= MIN_TABLE_BYTES:
            tables[name] = tensor.numpy()
            value.const_value = onnx_ir.tensor(np.zeros(0, tables[name].dtype), name=name)
    return tables


def _check_batch_size(proto: ModelProto) -> ModelProto:
    for value in proto.graph.input:  # the exporter accepts a fixed size without a word
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise TypeError(f"the model fixes the size of the batch; write x.shape[0] instead of len(x) ({value})")
    return proto
