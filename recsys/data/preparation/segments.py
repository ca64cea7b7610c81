"""Segments: a column of users or items cut into few values that metrics are reported by; models never see them.

N rows, W values per row at most. Code 0 always means "unknown"; the last code is "other", all values that are too rare.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.data.features import align_rows, fit_encoder, to_finite_floats
from recsys.errors import DataError

UNKNOWN, OTHER = "unknown", "other"
MAX_SEGMENTS = 20
"""how many values get a segment of their own; the others share the segment `other`"""


def encode_segments(column: pd.Series, separator: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The values in code order and (N, W) int32 codes of the rows, padded with 0; numbers become quartiles (W=1)."""
    encoder = fit_encoder(column, separator)
    if encoder.kind == "number":
        return _encode_quartiles(to_finite_floats(column).to_numpy())
    frequent = [value for value in encoder.values if value not in (UNKNOWN, OTHER)][:MAX_SEGMENTS]
    values = (UNKNOWN, *frequent, OTHER)
    codes = {value: code for code, value in enumerate(values)}
    segment_codes = np.array([0, *(codes.get(value, codes[OTHER]) for value in encoder.values)], dtype=np.int32)
    return values, segment_codes[encoder.encode(column, separator)]


def read_segment_file(user_ids: list[str], path: Path) -> tuple[list[str], np.ndarray]:
    """The segments of users before the test, from the column name_at_cut of a file that `recsys segment` wrote.

    Returns the values in code order and the codes of `user_ids` (raw ids), row 0 unknown. Raises DataError if the file
    has no such column.
    """
    try:
        table = pq.read_table(path).to_pandas()
    except (FileNotFoundError, pa.ArrowInvalid):
        table = pd.DataFrame()
    if not {"user", "name_at_cut"} <= set(table.columns):
        raise DataError(f"segments='{path}' is not a segments.parquet file; write one with recsys segment run=RUN")
    names = align_rows(table.set_index("user"), user_ids, "user")["name_at_cut"]
    values, codes = encode_segments(names, "|")
    return list(values), np.concatenate([np.zeros_like(codes[:1]), codes])


def _encode_quartiles(column: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Values such as "20-34.5", the upper end included, and their codes; fewer than four where quartiles coincide."""
    filled = ~np.isnan(column)
    if not filled.any():
        return (UNKNOWN,), np.zeros((len(column), 1), dtype=np.int32)
    # edges as they are written, so that no two values read alike
    edges = np.unique([float(f"{edge:g}") for edge in np.quantile(column[filled], [0, 0.25, 0.5, 0.75, 1])])
    values = [f"{low:g}-{high:g}" for low, high in pairwise(edges)] or [f"{edges[0]:g}"]
    codes = np.where(filled, np.searchsorted(edges[1:-1], column) + 1, 0)
    return (UNKNOWN, *values), codes[:, None].astype(np.int32)
