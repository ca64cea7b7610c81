"""How tables with one row per item are stored, and a model that reads them as stored.

I items with padding, E dimensions.
"""

import copy

import numpy as np
import torch
from torch import Tensor

from recsys.errors import ConfigError
from recsys.models.base import Model, Trainable
from recsys.models.layers.embedding import UserEmbedding

PRECISIONS = ("float16", "float32", "int8")
OUTLIER_RATIO = 3.0
"""a column is an outlier if its largest number exceeds that of the median column this many times"""


def is_item_table(shape: tuple[int, ...], n_rows: int) -> bool:
    """Whether a shape is that of a table with one row per item."""
    return len(shape) == 2 and shape[0] == n_rows and shape[1] > 1


def check_precision(precision: str) -> None:
    """Raises ConfigError for a precision that does not exist."""
    if precision not in PRECISIONS:
        raise ConfigError(f"precision={precision} is unknown; use {', '.join(PRECISIONS)}")


def resolve_precision(model: Model, precision: str) -> str:
    """The precision that a model's tables get: int8 becomes float16 unless scores are one matrix product."""
    if precision == "int8" and not model.dot_product:
        return "float16"
    return precision


def drop_users(model: Model) -> Model:
    """A model that treats every user as unknown and holds nothing about any of them; a copy, if it held something."""
    if not any(isinstance(child, UserEmbedding) for child in model.children()):
        return model.eval()
    copied = copy.deepcopy(model).eval()
    for name, child in list(copied.named_children()):
        if isinstance(child, UserEmbedding):
            setattr(copied, name, child.unknown())
    return copied


def round_tables(model: Model, n_items: int, precision: str) -> Model:
    """A copy of a model that reads item tables as the file stores them, with the item features folded in.

    Columns of item vectors that are far larger than the others, such as popularity, keep full precision. Raises
    ConfigError if float16 cannot hold the numbers.
    """
    copied = copy.deepcopy(model).eval()
    with torch.no_grad():
        if isinstance(copied, Trainable):
            matrix = copied.item_vectors().detach()
            is_outlier = torch.from_numpy(find_outlier_columns(matrix.numpy()))
            copied.fold(torch.where(is_outlier, matrix, _round(matrix, precision)))
        for name, tensor in copied.state_dict().items():
            is_table = is_item_table(tuple(tensor.shape), n_items + 1)
            if tensor.is_floating_point() and is_table and ".matrix" not in name:
                tensor.copy_(_round(tensor, precision))
    return copied


def _round(table: Tensor, precision: str) -> Tensor:
    if precision == "float32":
        return table.detach().clone()
    rounded = table.detach().half().float()
    if not rounded.isfinite().all():
        largest = float(table.abs().max())
        raise ConfigError(f"an item table holds {largest:g}, too large for {precision}; export with precision=float32")
    return rounded


def quantize_rows(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The int8 matrix (I E) and the scale (I,) of each row.

    Seven bits are used: processors from before 2019 add two 8-bit products in 16 bits and would saturate.
    """
    scale = np.maximum(np.abs(matrix).max(axis=1), 1e-12) / 63
    return np.rint(matrix / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def find_outlier_columns(matrix: np.ndarray) -> np.ndarray:
    """(E,) whether each column of (I E) holds numbers far larger than most columns do."""
    largest = np.abs(matrix).max(axis=0)
    is_outlier: np.ndarray = largest > OUTLIER_RATIO * np.median(largest)
    return is_outlier
