"""A graph of ONNX nodes under construction.

Values are named by text, as in the file.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TypeProto, ValueInfoProto, helper, numpy_helper

OPSET, ML_OPSET = 20, 3
ML_DOMAIN = "ai.onnx.ml"
MICROSOFT_DOMAIN = "com.microsoft"


class GraphBuilder:
    """Nodes in the order in which they run; a branch has nodes of its own and shares the constants."""

    def __init__(self, parent: "GraphBuilder | None" = None) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = parent.constants if parent else {}
        self._names: list[int] = parent._names if parent else [0]
        self._known: dict[Any, str] = parent._known if parent else {}

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The value of a node with one output."""
        return self.ops(kind, *inputs, n=1, domain=domain, **attributes)[0]

    def ops(self, kind: str, *inputs: str, n: int, domain: str = "", **attributes: Any) -> list[str]:
        """The values of a node with `n` outputs."""
        found = [self.name(kind) for _ in range(n)]
        self.nodes.append(helper.make_node(kind, inputs, found, domain=domain, **attributes))
        return found

    def named(self, output: str, kind: str, *inputs: str, **attributes: Any) -> None:
        """A node whose one value gets the name `output`."""
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def cast(self, value: str, kind: int) -> str:
        """A value in another type, a TensorProto constant."""
        return self.op("Cast", value, to=kind)

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.constant(np.array(values, np.int64))

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        """A constant; small ones of one value are kept once."""
        key = (array.shape, array.dtype.str, array.tobytes()) if array.nbytes < 256 and array.dtype != object else None
        if key is None or key not in self._known or name is not None:
            name = name or self.name("c")
            self.constants[name] = array
            self._known[key or name] = name
            return name
        return self._known[key]

    def name(self, hint: str) -> str:
        """A new name."""
        self._names[0] += 1
        return f"{hint.lower()}_{self._names[0]}"

    def branch(self, outputs: Sequence[str], kinds: Sequence[int], inputs: Sequence[ValueInfoProto] = ()) -> GraphProto:
        """These nodes as the body of an If or a Scan, with outputs of these types."""
        values = [
            ValueInfoProto(name=name, type=TypeProto(tensor_type=TypeProto.Tensor(elem_type=kind)))
            for name, kind in zip(outputs, kinds, strict=True)
        ]
        return helper.make_graph(self.nodes, self.name("body"), list(inputs), values)

    def insert(
        self, graph: GraphProto, inputs: Mapping[str, str], tables: Mapping[str, np.ndarray] = MappingProxyType({})
    ) -> list[str]:
        """The outputs of another graph whose inputs are taken from here; its names get a prefix of their own. `tables`
        are constants that it names and does not hold.
        """
        prefix = self.name("g")
        rename = {"": "", **inputs}
        for name, array in {**{t.name: numpy_helper.to_array(t) for t in graph.initializer}, **tables}.items():
            rename[name] = f"{prefix}.{name}"
            self.constants[rename[name]] = array
        self.nodes += [_renamed(node, rename, prefix) for node in graph.node]
        return [rename[value.name] for value in graph.output]


def _renamed(node: NodeProto, rename: dict[str, str], prefix: str) -> NodeProto:
    """The node with other names, those of its subgraphs too."""
    copied = NodeProto()
    copied.CopyFrom(node)
    for names in (copied.input, copied.output):
        names[:] = [rename.setdefault(name, f"{prefix}.{name}") for name in names]
    copied.name = f"{prefix}.{node.name}"
    for attribute in copied.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for value in (*attribute.g.input, *attribute.g.output, *attribute.g.initializer):
                value.name = rename.setdefault(value.name, f"{prefix}.{value.name}")
            inner = [_renamed(child, rename, prefix) for child in attribute.g.node]
            del attribute.g.node[:]
            attribute.g.node.extend(inner)
    return copied
