"""Tables in memory, and the names of their columns."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa
from narwhals.exceptions import NarwhalsError

from recsys.errors import DataError


def to_arrow_table(frame: Any) -> pa.Table:
    """A pandas, Polars or Arrow frame as an Arrow table."""
    try:
        return nw.from_native(frame, eager_only=True).to_arrow()
    except (TypeError, pa.ArrowException, NarwhalsError) as error:
        frame_type, reason = f"{type(frame).__module__}.{type(frame).__name__}", " ".join(str(error).split())
        remedy = "pass a pandas, Polars or Arrow frame with one type per column"
        raise DataError(f"a {frame_type} cannot be read as a table ({reason}); {remedy}") from error


def fill_column_names(names: Sequence[str], source: str, remedy: str) -> list[str]:
    """The names of columns, column0 and so on for empty ones; DataError if two differ at most in case."""
    names = [name.strip() or f"column{position}" for position, name in enumerate(names)]
    twice = [name for name, n in Counter(name.lower() for name in names).items() if n > 1]
    if twice:
        raise DataError(
            f"{source} has the column '{twice[0]}' twice (upper and lower case count as the same); {remedy}"
        )
    return names
