"""Tables too large for one `.onnx` file: they go into a second file, which must lie next to it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from recsys.errors import ConfigError

MAX_FILE_BYTES = 2**31 - 2**20
"""the limit of one file, set by protobuf"""
MIN_TABLE_BYTES = 2**20
"""size from which a constant may move to the second file"""
PAGE_BYTES = 4096
"""tables start at multiples of this, so that they are memory-mapped and not read"""


def store_constants(
    constants: Mapping[str, np.ndarray], nodes: list[NodeProto], beside: Path | None
) -> list[TensorProto]:
    """The constants as tensors of a graph; large ones are written to `beside` if one file cannot hold everything.

    Raises ConfigError if the constants are too large and `beside` is None, or if the small ones alone are too large.
    """
    small = {
        name: array for name, array in constants.items() if array.nbytes < MIN_TABLE_BYTES or array.dtype == object
    }
    tensors = [numpy_helper.from_array(array, name) for name, array in small.items()]
    tables = {name: array for name, array in constants.items() if name not in small}
    small_bytes = sum(tensor.ByteSize() for tensor in tensors) + sum(node.ByteSize() for node in nodes)  # both hold ids
    total_bytes = small_bytes + sum(array.nbytes for array in tables.values())
    if small_bytes > MAX_FILE_BYTES or (total_bytes > MAX_FILE_BYTES and beside is None):
        size = f"{total_bytes / 2**30:.1f} GiB"
        raise ConfigError(f"the file would be {size}, over the 2 GiB of one .onnx; lower model.dim")
    if total_bytes <= MAX_FILE_BYTES:
        return tensors + [numpy_helper.from_array(array, name) for name, array in tables.items()]
    assert beside is not None
    return tensors + _write_tables(tables, beside)


def _write_tables(tables: Mapping[str, np.ndarray], path: Path) -> list[TensorProto]:
    """Write tables to a new file and return tensors that refer to them."""
    tensors = []
    with path.open("xb") as file:
        for name, array in tables.items():
            file.seek(-file.tell() % PAGE_BYTES, 1)
            tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
            tensor.data_location = TensorProto.EXTERNAL
            location = {"location": path.name, "offset": file.tell(), "length": array.nbytes}
            for key, value in location.items():
                tensor.external_data.add(key=key, value=str(value))
            file.write(np.ascontiguousarray(array).data)
            tensors.append(tensor)
    return tensors
