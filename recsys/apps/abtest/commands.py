"""The commands `recsys experiment plan`, `assign` and `analyze`; settings as in their files."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from recsys.apps.abtest import decision, exposure_log, planning
from recsys.apps.abtest.analysis import Design, analyse, columns
from recsys.apps.abtest.assignment import assign, planned, pseudonym
from recsys.errors import ConfigError, DataError


def plan(
    effect: float,
    weekly: int,
    table: str | None,
    metric: str | None,
    covariate: str | None,
    mean: float | None,
    sd: float | None,
    correlation: float,
    variants: Sequence[str],
    shares: Sequence[float] | None,
    traffic: float,
    customers: int | None,
    live: bool,
    alpha: float,
    power: float,
) -> list[str]:
    """Weeks that a test needs, and what shorter ones would see. Raises ConfigError and DataError."""
    _levels(alpha, power, customers)
    if effect == 0 or effect <= -1 or weekly <= 0:
        raise ConfigError(f"effect={effect}, weekly={weekly}: give a relative change such as 0.05, and units a week")
    asked = planned(variants, shares, traffic), planning.live_level(alpha) if live else alpha, power
    sample = _sample(table, metric, covariate, mean, sd, correlation)
    needed = planning.units_needed(sample, effect, *asked)
    a_week = weekly * traffic
    reached = [int(min(week * a_week, customers or math.inf)) for week in planning.WEEKS]
    found = [planning.smallest_effect(sample, units, *asked) for units in reached]
    weeks = math.ceil(needed / a_week)
    most = planning.smallest_effect(sample, customers or needed, *asked)
    return [
        f"A change of {effect:+.1%} takes {needed:,} units: {weeks:,} weeks at {a_week:,.0f} new ones a week.",
        planning.table(reached, found, power),
        planning.advice(weeks, needed, customers, most),
    ]


def assign_units(
    name: str, units: str, unit: str, out: str, variants: Sequence[str], shares: Sequence[float] | None, traffic: float
) -> list[str]:
    """Write the units with a column `variant`, empty for those that take no part. Raises ConfigError and DataError."""
    from recsys.run import atomic

    split = planned(variants, shares, traffic)
    frame = _read(units, [unit], text=[unit])
    frame["variant"] = pd.Series([assign(name, each, split, traffic) for each in frame[unit]], dtype=object)
    with atomic(Path(out)) as path:
        frame.to_parquet(path, index=False) if out.endswith(".parquet") else frame.to_csv(path, index=False)
    counts = ", ".join(f"{variant} {int((frame['variant'] == variant).sum()):,}" for variant in split)
    return [f"{len(frame):,} units: {counts}, in no variant {int(frame['variant'].isna().sum()):,}; written to {out}"]


def analyze(
    table: str,
    metrics: Sequence[str],
    guardrails: dict[str, float] | None,
    covariates: dict[str, str] | None,
    fewer_is_better: Sequence[str],
    unit: str | None,
    variant: str,
    variants: Sequence[str],
    shares: Sequence[float] | None,
    shown: str | None,
    name: str | None,
    key: str | None,
    alpha: float,
    power: float,
    live: int | None,
) -> list[str]:
    """Sample ratio, table and decision of a test whose units are the rows of `data`.

    Raises ConfigError and DataError.
    """
    _levels(alpha, power, live)
    split, guardrails, covariates = planned(variants, shares), guardrails or {}, covariates or {}
    _known(metrics, guardrails, covariates, fewer_is_better)
    design = Design(variants[0], split, metrics, guardrails, covariates, fewer_is_better, alpha, power, live)
    text = [*([unit] if unit else []), *([] if shown else [variant])]
    frame = _read(table, [*text, *columns(design)], text)
    if unit and frame[unit].duplicated().any():
        raise DataError(f"column '{unit}' repeats {frame[unit][frame[unit].duplicated()].iloc[0]!r}; give a row a unit")
    if not shown:
        return decision.lines(analyse(frame, design, variant), design)
    frame, said = _exposed(frame, unit, shown, name, key)
    return [said, *decision.lines(analyse(frame, design), design)]


def _exposed(
    frame: pd.DataFrame, unit: str | None, shown: str, name: str | None, key: str | None
) -> tuple[pd.DataFrame, str]:
    """The rows of units in the exposure log with the variant they saw, and a line on the others."""
    if unit is None or name is None:
        raise ConfigError("shown= also takes unit=COLUMN and name=TEST")
    seen = exposure_log.variants(shown, name)
    both = sum(len(variants) > 1 for variants in seen.values())
    if both:
        raise DataError(
            f"{both:,} units of '{shown}' saw two variants of '{name}'; leave out the log up to that change"
        )
    found = [seen.get(pseudonym(each, key), set()) for each in frame[unit]]
    frame = frame.assign(variant=pd.Series([next(iter(each), None) for each in found], frame.index, object))
    kept = frame[frame["variant"].notna()].copy()
    said = f"{len(seen):,} units saw the test '{name}'; {len(seen) - len(kept):,} of them have no row in the data; "
    return kept, f"{said}{len(frame) - len(kept):,} rows are of others and left out"


def _sample(
    table: str | None,
    metric: str | None,
    covariate: str | None,
    mean: float | None,
    sd: float | None,
    correlation: float,
) -> planning.Sample:
    if (table is None) == (mean is None):
        raise ConfigError("give either table=FILE metric=COLUMN, or mean=VALUE (and sd=VALUE, unless it is a share)")
    if mean is not None:
        return planning.from_figures(mean, sd, correlation)
    assert table is not None
    if metric is None:
        raise ConfigError("metric is not set; write metric=COLUMN or metric=OVER/UNDER")
    return planning.from_frame(_read(table, []), metric, covariate)


def _levels(alpha: float, power: float, units: int | None) -> None:
    """Raises ConfigError for chances and numbers of units that are none."""
    if not (0 < alpha < 1 and 0 < power < 1):
        raise ConfigError(f"alpha={alpha}, power={power}: give chances between 0 and 1, such as 0.05 and 0.8")
    if units is not None and units <= 0:
        raise ConfigError(f"{units} is no number of units; give at least 1, or null")


def _known(
    metrics: Sequence[str], guardrails: Mapping[str, float], covariates: Mapping[str, str], fewer: Iterable[str]
) -> None:
    """Raises ConfigError for settings of metrics that are none."""
    if not metrics:
        raise ConfigError("metrics is empty; name at least one, such as metrics=[spend]")
    for name in (*covariates, *fewer):
        if name not in (*metrics, *guardrails):
            raise ConfigError(f"'{name}' is neither among metrics={list(metrics)} nor guardrails={list(guardrails)}")
    for name, tolerated in guardrails.items():
        if tolerated == 0:
            raise ConfigError(f"guardrails.{name}=0 has no direction; -0.01 allows a fall by 1 %, 0.01 a rise")


def _read(path: str, needed: Sequence[str], text: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV or Parquet file, the `text` columns as such; DataError where it lacks a column or is neither."""
    if not Path(path).is_file():
        raise ConfigError(f"there is no file '{path}'")
    try:
        as_text = dict.fromkeys(text, str)
        frame = pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path, dtype=as_text)
    except (ValueError, OSError) as error:
        raise DataError(f"'{path}' cannot be read: {str(error).splitlines()[0]}") from error
    for column in needed:
        if column not in frame:
            raise DataError(f"'{path}' has no column '{column}'; it has {', '.join(map(str, frame.columns))}")
    for column in text:
        if frame[column].isna().any():
            raise DataError(f"column '{column}' of '{path}' has {int(frame[column].isna().sum()):,} empty cells")
    return frame.astype(dict.fromkeys(text, str))
