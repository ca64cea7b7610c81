"""Tables that one `.onnx` cannot hold: they go into a second file, which has to lie beside it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from recsys.errors import ConfigError

MAX_FILE_BYTES = 2**31 - 2**20
"""bytes of one file: protobuf's limit"""
MIN_TABLE_BYTES = 2**20
PAGE_BYTES = 4096
"""bytes: what starts at a multiple of it is mapped, not read"""


def store_constants(
    constants: Mapping[str, np.ndarray], nodes: list[NodeProto], beside: Path | None
) -> list[TensorProto]:
    """Constants as a graph holds them; where it would be over the limit of one file, the large ones are written to
    `beside` and referred to there.

    Raises ConfigError where there is no such file, or where even the rest is too large.
    """
    kept = {name: array for name, array in constants.items() if array.nbytes < MIN_TABLE_BYTES or array.dtype == object}
    rest = [numpy_helper.from_array(array, name) for name, array in kept.items()]
    tables = {name: array for name, array in constants.items() if name not in kept}
    small = sum(tensor.ByteSize() for tensor in rest) + sum(node.ByteSize() for node in nodes)  # raw ids are in both
    size = small + sum(array.nbytes for array in tables.values())
    if small > MAX_FILE_BYTES or (size > MAX_FILE_BYTES and beside is None):
        raise ConfigError(f"the file would be {size / 2**30:.1f} GiB, over the 2 GiB of one .onnx; lower model.dim")
    if size <= MAX_FILE_BYTES:
        return rest + [numpy_helper.from_array(array, name) for name, array in tables.items()]
    assert beside is not None
    return rest + _moved(tables, beside)


def _moved(tables: Mapping[str, np.ndarray], beside: Path) -> list[TensorProto]:
    found = []
    with beside.open("xb") as file:
        for name, array in tables.items():
            file.seek(-file.tell() % PAGE_BYTES, 1)
            entry = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
            entry.data_location = TensorProto.EXTERNAL
            said = {"location": beside.name, "offset": file.tell(), "length": array.nbytes}
            for key, value in said.items():
                entry.external_data.add(key=key, value=str(value))
            file.write(np.ascontiguousarray(array).data)
            found.append(entry)
    return found
