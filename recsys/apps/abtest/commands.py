"""The commands `recsys abtest plan`, `assign` and `analyze`; settings as in their YAML files."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from recsys.apps.abtest import planning
from recsys.apps.abtest.analysis import analyze_variants
from recsys.apps.abtest.assignment import assign_variant, resolve_shares
from recsys.apps.abtest.decision import describe_result
from recsys.apps.abtest.design import AbtestDesign, list_metric_columns
from recsys.apps.abtest.units_table import check_one_row_per_unit, keep_exposed_units, read_units
from recsys.errors import ConfigError


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
    """Lines with the weeks that a test needs, and the changes that shorter ones detect.

    Raises ConfigError and DataError.
    """
    _check_levels(alpha, power)
    _check_units("weekly", weekly)
    _check_units("customers", customers)
    if effect == 0 or effect <= -1:
        raise ConfigError(f"effect={effect} is invalid: expected a relative change above -1 such as 0.05, and not 0")
    level = planning.compute_live_alpha(alpha) if live else alpha
    test = planning.AbtestPlan(resolve_shares(variants, shares, traffic), level, power)
    past = _past_metric(table, metric, covariate, mean, sd, correlation)
    n_needed = planning.compute_units_needed(past, effect, test)
    units_per_week = weekly * traffic
    units_by_week = [int(min(week * units_per_week, customers or math.inf)) for week in planning.WEEKS]
    effects = [planning.compute_smallest_effect(past, units, test) for units in units_by_week]
    weeks = math.ceil(n_needed / units_per_week)
    best = planning.compute_smallest_effect(past, customers or n_needed, test)
    duration = f"{weeks:,} weeks at {units_per_week:,.0f} new units per week"
    return [
        f"Detecting a change of {effect:+.1%} takes {n_needed:,} units: {duration}.",
        planning.format_plan_table(units_by_week, effects, power),
        planning.advise_on_duration(weeks, n_needed, customers, best),
    ]


def assign_units(
    name: str, units: str, unit: str, out: str, variants: Sequence[str], shares: Sequence[float] | None, traffic: float
) -> list[str]:
    """Write the units with a column `variant`, empty for units that take no part. Raises ConfigError and DataError."""
    from recsys.run import atomic

    fractions = resolve_shares(variants, shares, traffic)
    frame = read_units(units, [unit], text_columns=[unit])
    names = [assign_variant(name, value, fractions, traffic) for value in frame[unit]]
    frame["variant"] = pd.Series(names, dtype=object)
    with atomic(Path(out)) as path:
        frame.to_parquet(path, index=False) if out.endswith(".parquet") else frame.to_csv(path, index=False)
    counts = ", ".join(f"{variant} {names.count(variant):,}" for variant in fractions)
    return [f"{len(frame):,} units: {counts}, in no variant {names.count(None):,}; written to {out}"]


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
    """Lines with the sample ratio, the table and the decisions of a test whose units are the rows of `table`.

    Raises ConfigError and DataError.
    """
    _check_levels(alpha, power)
    _check_units("live", live)
    fractions, guardrails, covariates = resolve_shares(variants, shares), guardrails or {}, covariates or {}
    _check_metrics(metrics, guardrails, covariates, fewer_is_better)
    design = AbtestDesign(variants[0], fractions, metrics, guardrails, covariates, fewer_is_better, alpha, power, live)
    text_columns = [*([unit] if unit else []), *([] if shown else [variant])]
    frame = read_units(table, [*text_columns, *list_metric_columns(design)], text_columns)
    if unit:
        check_one_row_per_unit(frame, unit)
    if not shown:
        return describe_result(analyze_variants(frame, design, variant), design)
    if unit is None or name is None:
        raise ConfigError("shown= also needs unit=COLUMN and name=TEST")
    frame, line = keep_exposed_units(frame, unit, shown, name, key)
    return [line, *describe_result(analyze_variants(frame, design), design)]


def _past_metric(
    table: str | None,
    metric: str | None,
    covariate: str | None,
    mean: float | None,
    sd: float | None,
    correlation: float,
) -> planning.PastMetric:
    if (table is None) == (mean is None):
        raise ConfigError("give either table=FILE metric=COLUMN, or mean=VALUE (with sd=VALUE, unless it is a rate)")
    if mean is not None:
        return planning.PastMetric.from_moments(mean, sd, correlation)
    assert table is not None
    if metric is None:
        raise ConfigError("metric is not set; write metric=COLUMN or metric=NUMERATOR/DENOMINATOR")
    return planning.PastMetric.from_table(read_units(table, []), metric, covariate)


def _check_levels(alpha: float, power: float) -> None:
    """Raises ConfigError for probabilities outside 0 to 1."""
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}={value} is invalid: expected a probability between 0 and 1")


def _check_units(name: str, value: int | None) -> None:
    """Raises ConfigError for a number of units below 1."""
    if value is not None and value <= 0:
        raise ConfigError(f"{name}={value} is invalid: expected a whole number of units ≥ 1")


def _check_metrics(
    metrics: Sequence[str], guardrails: Mapping[str, float], covariates: Mapping[str, str], fewer: Iterable[str]
) -> None:
    """Raises ConfigError for settings that name no metric, and for guardrails without a direction."""
    if not metrics:
        raise ConfigError("metrics is empty; name at least one, such as metrics=[spend]")
    for name in (*covariates, *fewer):
        if name not in (*metrics, *guardrails):
            raise ConfigError(f"'{name}' is neither in metrics={list(metrics)} nor in guardrails={list(guardrails)}")
    for name, tolerance in guardrails.items():
        if tolerance == 0:
            raise ConfigError(f"guardrails.{name}=0 has no direction; -0.01 allows a fall by 1%, 0.01 a rise by 1%")
