"""The part of a file that torch exports: whole numbers in, query vectors or scores out.

B users, N slots of the cut history, I items with padding, E dimensions.
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

from recsys.data.dataset import Dataset
from recsys.data.features import TIME_FEATURES
from recsys.export.inputs import EVENT, Clock, Column, Standardise
from recsys.export.nodes import OPSET
from recsys.models.base import Model, ModelInputs, Trainable

BULKY = 2**20
"""bytes of a constant that protobuf is spared"""


@dataclass(frozen=True)
class Traced:
    """An exported graph and what is read beside `history`: names of inputs there, and their columns. The type of an
    event is always among them, for it says which items count as seen.
    """

    graph: GraphProto
    columns: dict[str, Column]
    tables: dict[str, np.ndarray]
    """constants that are too large for protobuf to be fast or able, by the names that the graph has for them"""


class Question(nn.Module):
    """From a cut history (B N) and columns to scores (B I) of a closed form, or to query vectors (B E) and, where
    repeats are ranked, what is added to the score of the item in each slot (B N).
    """

    def __init__(self, model: Model, columns: list[Column], dataset: Dataset) -> None:
        super().__init__()
        self.model, self.columns = model, columns
        self.derived = [name for name in dataset.encoders["context"] if name in TIME_FEATURES]
        self.clock = Clock(dataset.metadata["zone"]) if self.derived else None
        self.coders = nn.ModuleList(
            Standardise(c.encoder) if c.kind == "number" and c.encoder else nn.Identity() for c in columns
        )

    def forward(self, history: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        """The answer."""
        inputs = self._read_inputs(history, values)
        if not isinstance(self.model, Trainable):
            return (self.model(inputs),)
        inputs = inputs.at_end()
        query = self.model.encode(inputs)
        bonus = self.model.slot_scores(query, inputs)
        return (query[:, 0],) if bonus is None else (query[:, 0], bonus[:, 0])

    def _read_inputs(self, history: Tensor, values: tuple[Tensor, ...]) -> ModelInputs:
        user: dict[str, Tensor] = {}
        events: dict[str, Tensor] = {}
        request: dict[str, Tensor] = {}
        part = {"user": user, "events": events, "request": request}
        for column, coder, value in zip(self.columns, self.coders, values, strict=True):
            coded = coder(value)
            # one query a row
            part[column.part][column.name] = coded[:, None] if column.part == "request" else coded
        for name in self.derived:
            assert self.clock is not None
            events[name], request[name] = (
                self.clock(name, events["timestamp"]),
                self.clock(name, request["timestamp"]),
            )
        return ModelInputs(user, history, events, request)


class Pairs(nn.Module):
    """Scores (B C) of query vectors (B E) and item vectors (C E)."""

    def __init__(self, model: Trainable) -> None:
        super().__init__()
        self.model = model

    def forward(self, query: Tensor, items: Tensor) -> Tensor:
        """The scores."""
        return self.model.score(query, items)


def trace(model: Model, columns: list[Column], dataset: Dataset) -> Traced:
    """The graph of a model for histories of any length from 1, in batches of any size; an empty one where scores
    are sums of rows.
    """
    if model.rows() is not None:
        return Traced(GraphProto(), {column.input: column for column in columns if column.input == EVENT}, {})
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    events = {0: batch, 1: length}
    shapes = [events if column.part == "events" else {0: batch} for column in columns]
    named = {f"column_{n}": column for n, column in enumerate(columns)}
    examples = torch.ones(3, 5, dtype=torch.long), *map(_example, columns)
    program = _exported(Question(model, columns, dataset), examples, ["history", *named], (events, tuple(shapes)))
    tables = _taken(program)
    proto = _checked(program.model_proto)
    read = {name for node in proto.graph.node for name in node.input}
    return Traced(
        proto.graph,
        {name: column for name, column in named.items() if name in read or column.input == EVENT},
        tables,
    )


def trace_pairs(model: Trainable, width: int) -> GraphProto:
    """The graph of a model's `score`, inputs `query` and `items` of this width."""
    shapes = ({0: torch.export.Dim("batch")}, {0: torch.export.Dim("candidates")})
    return to_onnx(Pairs(model), (torch.zeros(3, width), torch.zeros(5, width)), ["query", "items"], shapes).graph


def _example(column: Column) -> Tensor:
    slots = (3, 5) if column.part == "events" else (3,)
    if column.kind == "number":
        return torch.zeros(slots, dtype=torch.double)
    return torch.zeros(*slots, column.width, dtype=torch.long) if column.encoder else torch.ones(slots).long()


def to_onnx(module: nn.Module, examples: tuple[Tensor, ...], names: list[str], shapes: object) -> ModelProto:
    """The graph of a module with all it holds."""
    return _checked(_exported(module, examples, names, shapes).model_proto)


def _exported(module: nn.Module, examples: tuple[Tensor, ...], names: list[str], shapes: object) -> ONNXProgram:
    """The exporter's answer without its many remarks."""
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


def _taken(program: ONNXProgram) -> dict[str, np.ndarray]:
    """The large constants of a graph, which keeps their names and an empty array for each."""
    found: dict[str, np.ndarray] = {}
    for name, value in program.model.graph.initializers.items():
        held = value.const_value
        if held is not None and held.nbytes >= BULKY:
            found[name] = held.numpy()
            value.const_value = onnx_ir.tensor(np.zeros(0, found[name].dtype), name=name)
    return found


def _checked(proto: ModelProto) -> ModelProto:
    for value in proto.graph.input:  # what is fixed is not refused by the exporter
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise TypeError(
                f"the model fixes the size of the batch; let it ask x.shape[0] for it, not len(x) ({value})"
            )
    return proto
