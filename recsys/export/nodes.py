"""Builds a graph of ONNX nodes, in which values are referred to by their names, as in the file."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TypeProto, ValueInfoProto, helper, numpy_helper

OPSET, ML_OPSET = 20, 3
ML_DOMAIN = "ai.onnx.ml"
MICROSOFT_DOMAIN = "com.microsoft"


class GraphBuilder:
    """Collects nodes in the order in which they run.

    The builder of a subgraph has nodes of its own and shares the constants and names of its `parent`.
    """

    def __init__(self, parent: "GraphBuilder | None" = None) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = parent.constants if parent else {}
        self._counter: list[int] = parent._counter if parent else [0]
        self._names_by_value: dict[Any, str] = parent._names_by_value if parent else {}

    def op(self, op_type: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the name of its value."""
        return self.ops(op_type, *inputs, n=1, domain=domain, **attributes)[0]

    def ops(self, op_type: str, *inputs: str, n: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with `n` outputs and return the names of its values."""
        outputs = [self.new_name(op_type) for _ in range(n)]
        self.nodes.append(helper.make_node(op_type, inputs, outputs, domain=domain, **attributes))
        return outputs

    def add_named(self, output: str, op_type: str, *inputs: str, **attributes: Any) -> None:
        """Add a node whose value is called `output`."""
        self.nodes.append(helper.make_node(op_type, inputs, [output], **attributes))

    def cast(self, value: str, element_type: int) -> str:
        """A value in another type, which is a TensorProto constant."""
        return self.op("Cast", value, to=element_type)

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.constant(np.array(values, np.int64))

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        """A constant; small arrays of the same value are stored once."""
        key = (array.shape, array.dtype.str, array.tobytes()) if array.nbytes < 256 and array.dtype != object else None
        if key is None or key not in self._names_by_value or name is not None:
            name = name or self.new_name("c")
            self.constants[name] = array
            self._names_by_value[key or name] = name
            return name
        return self._names_by_value[key]

    def new_name(self, hint: str) -> str:
        """A name that no other value of the graph has."""
        self._counter[0] += 1
        return f"{hint.lower()}_{self._counter[0]}"

    def make_body(
        self, outputs: Sequence[str], element_types: Sequence[int], inputs: Sequence[ValueInfoProto] = ()
    ) -> GraphProto:
        """The nodes as the body of an If or a Scan, with outputs of these types."""
        values = [
            ValueInfoProto(name=name, type=TypeProto(tensor_type=TypeProto.Tensor(elem_type=element_type)))
            for name, element_type in zip(outputs, element_types, strict=True)
        ]
        return helper.make_graph(self.nodes, self.new_name("body"), list(inputs), values)

    def insert(
        self, graph: GraphProto, inputs: Mapping[str, str], tables: Mapping[str, np.ndarray] = MappingProxyType({})
    ) -> list[str]:
        """Add the nodes of another graph and return the names of its outputs.

        `inputs` maps its inputs to values here, its other names get a prefix, and `tables` are constants that it
        names but does not hold.
        """
        prefix = self.new_name("g")
        names = {"": "", **inputs}
        for name, array in {**{t.name: numpy_helper.to_array(t) for t in graph.initializer}, **tables}.items():
            names[name] = f"{prefix}.{name}"
            self.constants[names[name]] = array
        self.nodes += [_rename_node(node, names, prefix) for node in graph.node]
        return [names[value.name] for value in graph.output]


def _rename_node(node: NodeProto, names: dict[str, str], prefix: str) -> NodeProto:
    """A copy of a node with other names, also inside its subgraphs."""
    copied = NodeProto()
    copied.CopyFrom(node)
    for values in (copied.input, copied.output):
        values[:] = [names.setdefault(name, f"{prefix}.{name}") for name in values]
    copied.name = f"{prefix}.{node.name}"
    for attribute in copied.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for value in (*attribute.g.input, *attribute.g.output, *attribute.g.initializer):
                value.name = names.setdefault(value.name, f"{prefix}.{value.name}")
            children = [_rename_node(child, names, prefix) for child in attribute.g.node]
            del attribute.g.node[:]
            attribute.g.node.extend(children)
    return copied
