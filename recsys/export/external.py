"""Tables that one `.onnx` cannot hold: they go into a second file, which has to lie beside it."""

from pathlib import Path

from onnx import TensorProto

from recsys.config import ConfigError
from recsys.export.nodes import Nodes

LARGEST = 2**31 - 2**20
"""bytes of one file: protobuf's limit"""
BULKY = 2**20
PAGE = 4096
"""bytes: what starts at a multiple of it is mapped, not read"""


def move_tables(g: Nodes, beside: Path | None) -> None:
    """Where a graph is over the limit of one file, write its large constants to `beside` and refer to them there.

    Raises ConfigError where there is no such file, or where even the rest is too large.
    """
    size = _size(g)
    if size > LARGEST and beside is not None:
        _move(g, beside)
    if _size(g) > LARGEST:
        raise ConfigError(f"the file would be {size / 2**30:.1f} GiB, over the 2 GiB of one .onnx; lower model.dim")


def _move(g: Nodes, beside: Path) -> None:
    with beside.open("xb") as file:
        for name, tensor in g.constants.items():
            if len(tensor.raw_data) < BULKY:
                continue
            file.seek(-file.tell() % PAGE, 1)
            entry = TensorProto(name=name, data_type=tensor.data_type, dims=tensor.dims)
            entry.data_location = TensorProto.EXTERNAL
            said = {"location": beside.name, "offset": file.tell(), "length": file.write(tensor.raw_data)}
            for key, value in said.items():
                entry.external_data.add(key=key, value=str(value))
            g.constants[name] = entry


def _size(g: Nodes) -> int:
    """Bytes of constants and nodes; raw ids are in both. protobuf cannot tell the size of what it cannot hold."""
    tensors = sum(len(tensor.raw_data) or tensor.ByteSize() for tensor in g.constants.values())
    return tensors + sum(node.ByteSize() for node in g.nodes)
