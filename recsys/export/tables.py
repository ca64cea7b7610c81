"""How tables with a row an item are stored, and the model that reads them as stored.

I items with padding.
"""

import copy

import numpy as np
import torch
from torch import Tensor

from recsys.errors import ConfigError
from recsys.models.base import Model, Trainable
from recsys.models.layers.embedding import UserEmbedding

PRECISIONS = ("float16", "float32", "int8")
LOUD = 3.0
"""how many times the median column's largest number an outlier's is"""


def is_table(shape: tuple[int, ...], n_rows: int) -> bool:
    """Whether these are the rows of all items."""
    return len(shape) == 2 and shape[0] == n_rows and shape[1] > 1


def check_precision(precision: str) -> None:
    """Raises ConfigError for one that does not exist."""
    if precision not in PRECISIONS:
        raise ConfigError(f"precision={precision} is unknown; use {', '.join(PRECISIONS)}")


def effective(model: Model, precision: str) -> str:
    """What a precision comes to: 8 bits pay only where scores are one matrix product."""
    if precision == "int8" and not model.dot_product:
        return "float16"
    return precision


def without_users(model: Model) -> Model:
    """A model that takes everybody for unknown and holds nothing of any one user: a copy, if it held something."""
    if not any(isinstance(child, UserEmbedding) for child in model.children()):
        return model.eval()
    found = copy.deepcopy(model).eval()
    for name, child in list(found.named_children()):
        if isinstance(child, UserEmbedding):
            setattr(found, name, child.unknown())
    return found


def as_stored(model: Model, n_items: int, precision: str) -> Model:
    """A copy of a model that reads item tables as the file stores them, item features folded in; columns of item
    vectors that are far larger than the rest, such as popularity, keep all their digits.

    Raises ConfigError where float16 cannot hold the numbers.
    """
    found = copy.deepcopy(model).eval()
    with torch.no_grad():
        if isinstance(found, Trainable):
            matrix = found.item_vectors().detach()
            folded = _stored(matrix, precision)
            loud = torch.from_numpy(outliers(matrix.numpy()))
            found.fold(torch.where(loud, matrix, folded))
        for name, tensor in found.state_dict().items():
            if tensor.is_floating_point() and is_table(tuple(tensor.shape), n_items + 1) and ".matrix" not in name:
                tensor.copy_(_stored(tensor, precision))
    return found


def _stored(table: Tensor, precision: str) -> Tensor:
    if precision == "float32":
        return table.detach().clone()
    rounded = table.detach().half().float()
    if not rounded.isfinite().all():
        largest = float(table.abs().max())
        raise ConfigError(f"an item table holds {largest:g}, too large for {precision}; export with precision=float32")
    return rounded


def quantised(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An int8 matrix (I E) and the scale (I,) of each row; of seven bits, since processors before 2019 add two
    products with eight in sixteen bits, and would cut them off.
    """
    scale = np.maximum(np.abs(matrix).max(axis=1), 1e-12) / 63
    return np.rint(matrix / scale[:, None]).astype(np.int8), scale.astype(np.float32)


def outliers(matrix: np.ndarray) -> np.ndarray:
    """(E,) which columns hold numbers far larger than most columns do."""
    largest = np.abs(matrix).max(axis=0)
    found: np.ndarray = largest > LOUD * np.median(largest)
    return found
