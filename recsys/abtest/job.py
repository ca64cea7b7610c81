"""The commands `recsys experiment plan`, `assign` and `analyze`; settings as in their files."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from recsys.abtest import decision, log, planning
from recsys.abtest.analysis import Design, analyse, columns
from recsys.abtest.assignment import assign, mistake, pseudonym
from recsys.config import ConfigError
from recsys.data.schema import DataError


def plan(
    effect: float,
    weekly: int,
    data: str | None,
    metric: str | None,
    covariate: str | None,
    mean: float | None,
    sd: float | None,
    correlation: float,
    shares: dict[str, float],
    traffic: float,
    customers: int | None,
    live: bool,
    alpha: float,
    power: float,
) -> list[str]:
    """Weeks that a test needs, and what shorter ones would see. Raises ConfigError and DataError."""
    _checked(shares, traffic)
    if effect == 0 or effect <= -1 or weekly <= 0:
        raise ConfigError(f"effect={effect}, weekly={weekly}: give a relative change such as 0.05, and units a week")
    sample = _sample(data, metric, covariate, mean, sd, correlation)
    level = planning.live_level(alpha) if live else alpha
    needed = planning.units_needed(sample, effect, shares, level, power)
    a_week = weekly * traffic
    weeks = math.ceil(needed / a_week)
    reach = {week: min(math.floor(week * a_week), customers or math.inf) for week in planning.WEEKS}
    seen = {week: planning.smallest_effect(sample, int(units), shares, level, power) for week, units in reach.items()}
    table = pd.DataFrame(
        [(week, f"{reach[week]:,}", f"{seen[week]:.1%}") for week in reach],
        columns=["weeks", "units", f"change found in {power:.0%} of tests"],
    )
    return [
        f"A change of {effect:+.1%} takes {needed:,} units, {weeks:,} weeks at {a_week:,.0f} new ones a week.",
        table.to_string(index=False),
        planning.advice(
            weeks, needed, customers, planning.smallest_effect(sample, customers or needed, shares, level, power)
        ),
    ]


def assign_units(name: str, units: str, unit: str, out: str, shares: dict[str, float], traffic: float) -> list[str]:
    """Write the units with a column `variant`, empty for those that take no part. Raises ConfigError and DataError."""
    from recsys.run import atomic

    _checked(shares, traffic)
    frame = _read(units, [unit])
    variants = [assign(name, each, shares, traffic) for each in frame[unit].astype(str)]
    frame["variant"] = pd.Series(variants, dtype=object)
    with atomic(Path(out)) as path:
        frame.to_parquet(path, index=False) if out.endswith(".parquet") else frame.to_csv(path, index=False)
    counts = ", ".join(
        f"{variant} {variants.count(variant):,}" for variant in [*shares, *([None] if traffic < 1 else [])]
    )
    return [f"{len(frame):,} units: {counts}; written to {out}".replace("None", "in no variant")]


def analyze(
    data: str,
    metrics: Sequence[str],
    guardrails: dict[str, float],
    covariates: dict[str, str],
    fewer_is_better: Sequence[str],
    unit: str | None,
    variant: str,
    shares: dict[str, float],
    exposures: str | None,
    name: str | None,
    key: str | None,
    alpha: float,
    power: float,
    live: int | None,
) -> list[str]:
    """Sample ratio, table and decision of a test whose units are the rows of `data`. Raises ConfigError and DataError."""
    _checked(shares, 1.0)
    _known(metrics, guardrails, covariates, fewer_is_better)
    design = Design(next(iter(shares)), shares, metrics, guardrails, covariates, fewer_is_better, alpha, power, live)
    needed = [*columns(design), *([unit] if unit else []), *([] if exposures else [variant])]
    frame = _read(data, needed)
    if unit and frame[unit].duplicated().any():
        raise DataError(f"column '{unit}' repeats {frame[unit][frame[unit].duplicated()].iloc[0]!r}; give a row a unit")
    said = []
    if exposures:
        frame, said = _exposed(frame, unit, exposures, name, key)
        variant = "variant"
    frame[variant] = frame[variant].astype(str)
    return [*said, *decision.lines(analyse(frame, design, variant), design)]


def _exposed(
    frame: pd.DataFrame, unit: str | None, exposures: str, name: str | None, key: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of units in the exposure log with the variant they saw, and a line on the others."""
    if unit is None or name is None:
        raise ConfigError("exposures= also takes unit=COLUMN and name=TEST")
    seen = log.variants(exposures, name)
    both = sum(len(variants) > 1 for variants in seen.values())
    if both:
        raise DataError(f"{both:,} units of '{exposures}' saw two variants of '{name}'; shares were changed under way")
    found = [seen.get(pseudonym(each, key), set()) for each in frame[unit].astype(str)]
    frame = frame.assign(variant=[next(iter(variants), None) for variants in found])
    kept = frame[frame["variant"].notna()].copy()
    said = f"{len(seen):,} units saw the test '{name}'; {len(seen) - len(kept):,} of them have no row in the data; "
    return kept, [f"{said}{len(frame) - len(kept):,} rows are of others and left out"]


def _sample(
    data: str | None,
    metric: str | None,
    covariate: str | None,
    mean: float | None,
    sd: float | None,
    correlation: float,
) -> planning.Sample:
    if (data is None) == (mean is None):
        raise ConfigError("give either data=FILE metric=COLUMN, or mean=VALUE (and sd=VALUE, unless it is a share)")
    if mean is not None:
        return planning.from_figures(mean, sd, correlation)
    assert data is not None
    if metric is None:
        raise ConfigError("metric is not set; write metric=COLUMN or metric=OVER/UNDER")
    return planning.from_frame(_read(data, []), metric, covariate)


def _checked(shares: Mapping[str, float], traffic: float) -> None:
    if wrong := mistake(shares, traffic):
        raise ConfigError(wrong)


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


def _read(path: str, needed: Sequence[str]) -> pd.DataFrame:
    """A CSV or Parquet file; DataError where it lacks a column or is neither."""
    if not Path(path).is_file():
        raise ConfigError(f"there is no file '{path}'")
    try:
        frame = pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise DataError(f"'{path}' cannot be read: {str(error).splitlines()[0]}") from error
    missing = [column for column in needed if column not in frame]
    if missing:
        raise DataError(f"'{path}' has no column '{missing[0]}'; it has {', '.join(map(str, frame.columns))}")
    return frame
