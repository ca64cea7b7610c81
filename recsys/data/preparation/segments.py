"""Segments: a column of users or items cut into few values that rankings are reported by; no model sees them.

N rows, W values a row at most. Code 0 always means "unknown", the last code all values that are too rare.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.features import aligned, as_numbers, fit_encoder
from recsys.errors import DataError

UNKNOWN, OTHER = "unknown", "other"
LARGEST = 20
"""values that have a segment of their own; the rest share `other`"""


def segmented(column: pd.Series, separator: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The values in code order and the (N, W) int32 codes of each row, padded with 0; W is 1 for numbers."""
    encoder = fit_encoder(column, separator)
    if encoder.kind == "number":
        return _quartiles(as_numbers(column).to_numpy())
    kept = [value for value in encoder.values if value not in (UNKNOWN, OTHER)][:LARGEST]
    values = (UNKNOWN, *kept, OTHER)
    code = {value: number for number, value in enumerate(values)}
    place = np.array([0, *(code.get(value, code[OTHER]) for value in encoder.values)], dtype=np.int32)
    return values, place[encoder.encode(column, separator)]


def joined(users: list[str], path: Path) -> tuple[list[str], np.ndarray]:
    """The values and codes of `name_at_cut` in a file of `recsys segment`, by raw user ids: in which segment users were
    before the purchases that judge. DataError for a file that is none.
    """
    try:
        table = pq.read_table(path).to_pandas()
    except (FileNotFoundError, pa.ArrowInvalid):
        table = pd.DataFrame()
    if not {"user", "name_at_cut"} <= set(table.columns):
        raise DataError(f"segments='{path}' is no segments.parquet; write one with recsys segment run=RUN")
    values, codes = segmented(aligned(table.set_index("user"), users, "user")["name_at_cut"], "|")
    return list(values), np.concatenate([np.zeros_like(codes[:1]), codes])


def _quartiles(column: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Values such as "20-34.5", the upper end included; fewer than four where quartiles coincide."""
    known = ~np.isnan(column)
    if not known.any():
        return (UNKNOWN,), np.zeros((len(column), 1), dtype=np.int32)
    # edges as they are written, so that no two values read alike
    edges = np.unique([float(f"{edge:g}") for edge in np.quantile(column[known], [0, 0.25, 0.5, 0.75, 1])])
    values = [f"{low:g}-{high:g}" for low, high in pairwise(edges)] or [f"{edges[0]:g}"]
    codes = np.where(known, np.searchsorted(edges[1:-1], column) + 1, 0)
    return (UNKNOWN, *values), codes[:, None].astype(np.int32)
