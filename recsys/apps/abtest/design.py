"""The design of an A/B test, and whether a table of units fits it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from recsys.errors import DataError


@dataclass(frozen=True)
class AbtestDesign:
    """The decisions made before the data arrive; settings as in configs/abtest_analyze.yaml."""

    control: str
    shares: Mapping[str, float]
    metrics: Sequence[str]
    guardrails: Mapping[str, float] = field(default_factory=dict)
    covariates: Mapping[str, str] = field(default_factory=dict)
    fewer_is_better: Sequence[str] = ()
    alpha: float = 0.05
    power: float = 0.8
    live: int | None = None


def check_variants(column: pd.Series, design: AbtestDesign, counts: Mapping[str, int]) -> None:
    """Raises DataError for variants that the design does not name and for variants with fewer than 2 units."""
    unknown = sorted(set(column) - set(counts))
    if unknown:
        raise DataError(
            f"column '{column.name}' holds {unknown[:3]}, which variants={list(design.shares)} lacks; add them"
        )
    small = [name for name, count in counts.items() if count < 2]
    if small:
        raise DataError(f"variant '{small[0]}' has {counts[small[0]]} units; each needs at least 2")


def check_metric_columns(frame: pd.DataFrame, design: AbtestDesign) -> None:
    """Raises DataError for cells without a finite number, and for metrics that are constant or not positive."""
    for name in list_metric_columns(design):
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise DataError(f"column '{name}' holds {frame[name].iloc[0]!r}, which is not a number")
        if n_empty := int((~np.isfinite(frame[name].astype(float))).sum()):
            raise DataError(
                f"column '{name}' has {n_empty:,} empty or infinite cells; write 0 for units without events"
            )
    for name in (*design.metrics, *design.guardrails):
        numerator, *denominator = name.split("/")
        if frame[numerator].nunique() == 1:
            raise DataError(
                f"column '{numerator}' is {frame[numerator].iloc[0]} for all units; there is nothing to compare"
            )
        for column in (numerator, *denominator):
            if frame[column].sum() <= 0:
                raise DataError(
                    f"column '{column}' adds up to {frame[column].sum()}; relative changes need a positive mean"
                )


def list_metric_columns(design: AbtestDesign) -> list[str]:
    """The columns of numbers that a design reads, without repeats."""
    names = [*design.metrics, *design.guardrails, *design.covariates.values()]
    return list(dict.fromkeys(column for name in names for column in name.split("/")))
