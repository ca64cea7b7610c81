"""The table of a test's units, a CSV or Parquet file, and the variants that the exposure log has for them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from recsys.apps.abtest.assignment import log_unit_id
from recsys.apps.abtest.exposure_log import read_variants_by_unit
from recsys.errors import ConfigError, DataError


def read_units(path: str, columns: Sequence[str], text_columns: Sequence[str] = ()) -> pd.DataFrame:
    """The file as a frame, its `text_columns` as text.

    Raises ConfigError for a missing file, and DataError for one that cannot be read, lacks one of `columns`, or has
    empty cells in `text_columns`.
    """
    if not Path(path).is_file():
        raise ConfigError(f"there is no file '{path}'")
    dtypes = dict.fromkeys(text_columns, str)
    try:
        frame = pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path, dtype=dtypes)
    except (ValueError, OSError) as error:
        raise DataError(f"'{path}' cannot be read: {str(error).splitlines()[0]}") from error
    for column in columns:
        if column not in frame:
            raise DataError(f"'{path}' has no column '{column}'; it has {', '.join(map(str, frame.columns))}")
    for column in text_columns:
        if n_empty := int(frame[column].isna().sum()):
            raise DataError(f"column '{column}' of '{path}' has {n_empty:,} empty cells; every row needs a value")
    return frame.astype(dtypes)


def check_one_row_per_unit(frame: pd.DataFrame, unit: str) -> None:
    """Raises DataError if the column `unit` repeats an id."""
    repeated = frame[unit][frame[unit].duplicated()]
    if len(repeated):
        raise DataError(f"column '{unit}' repeats {repeated.iloc[0]!r}; give one row per unit")


def keep_exposed_units(
    frame: pd.DataFrame, unit: str, log_path: str, test: str, key: str | None
) -> tuple[pd.DataFrame, str]:
    """The rows of units in the exposure log, with the column `variant` that they saw, and a line on the other rows.

    Raises DataError if a unit saw two variants.
    """
    variants = read_variants_by_unit(log_path, test)
    n_mixed = sum(len(names) > 1 for names in variants.values())
    if n_mixed:
        raise DataError(
            f"{n_mixed:,} units in '{log_path}' saw two variants of the test '{test}'; "
            "drop the records before that change"
        )
    names = [next(iter(variants.get(log_unit_id(value, key), ())), None) for value in frame[unit]]
    frame = frame.assign(variant=pd.Series(names, frame.index, object))
    exposed = frame[frame["variant"].notna()].copy()
    missing = f"{len(variants) - len(exposed):,} of them have no row in the table"
    others = f"{len(frame) - len(exposed):,} rows of other units are left out"
    return exposed, f"{len(variants):,} units saw the test '{test}'; {missing}; {others}"
