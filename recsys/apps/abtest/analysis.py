"""What a finished or running test says in numbers: sample ratio first, then every metric against control.

The computing is tea-tasting's; a metric is a column, or a ratio of two that is written `orders/sessions`.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsys.apps.abtest.sequential import p_value, single_look_level
from recsys.errors import DataError
from recsys.extras import require_extra

if TYPE_CHECKING:
    import tea_tasting as tt

MISMATCH = 0.001
"""p-value of the counts under the planned shares below which nothing else is looked at"""


@dataclass(frozen=True)
class Design:
    """What was decided before the data came, as in configs/experiment_analyze.yaml."""

    control: str
    shares: Mapping[str, float]
    metrics: Sequence[str]
    guardrails: Mapping[str, float] = field(default_factory=dict)
    covariates: Mapping[str, str] = field(default_factory=dict)
    fewer_is_better: Sequence[str] = ()
    alpha: float = 0.05
    power: float = 0.8
    live: int | None = None


@dataclass(frozen=True)
class Effect:
    """One metric of one variant beside control; what begins with `relative` is a share of control's mean."""

    variant: str
    metric: str
    control: float
    treatment: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float
    p_value: float
    adjusted: float
    """p-value for the false discovery rate over all metrics and variants; that of a guardrail is its own"""
    saved: float
    """variance that the covariate took away, as a share"""
    detectable: float
    """relative change that a test of this size finds with the planned power"""


@dataclass(frozen=True)
class Analysis:
    """Counts by variant and the p-value of the sample ratio; no effects where that is below MISMATCH."""

    counts: dict[str, int]
    mismatch: float
    effects: list[Effect]

    @property
    def blocked(self) -> bool:
        """Whether the groups are not those that were planned."""
        return self.mismatch < MISMATCH


def analyse(frame: pd.DataFrame, design: Design, variant: str = "variant") -> Analysis:
    """The analysis of a frame of one row a unit; raises DataError for columns that cannot be analysed."""
    counts = {name: int((frame[variant] == name).sum()) for name in design.shares}
    check(frame, design, variant, counts)
    mismatch = min(_sample_ratio(frame, variant, design, name) for name in counts if name != design.control)
    if mismatch < MISMATCH:
        return Analysis(counts, mismatch, [])
    effects = [
        effect
        for name in counts
        if name != design.control
        for effect in _effects(frame[frame[variant].isin([design.control, name])], variant, design, name)
    ]
    return Analysis(counts, mismatch, _adjusted(effects, design))


def check(frame: pd.DataFrame, design: Design, variant: str, counts: Mapping[str, int]) -> None:
    """Raises DataError for variants and values that no analysis can use."""
    strange = sorted(set(frame[variant]) - set(counts))
    if strange:
        raise DataError(f"column '{variant}' holds {strange[:3]}, which shares={dict(design.shares)} does not name")
    few = [name for name, count in counts.items() if count < 2]
    if few:
        raise DataError(f"variant '{few[0]}' has {counts[few[0]]} units; each needs at least 2")
    for name in columns(design):
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise DataError(f"column '{name}' holds {frame[name].iloc[0]!r}, no number")
        if empty := int((~np.isfinite(frame[name].astype(float))).sum()):
            raise DataError(f"column '{name}' has {empty:,} empty cells; write 0 for units to whom nothing happened")
    for name in (*design.metrics, *design.guardrails):
        over, *under = name.split("/")
        if frame[over].nunique() == 1:
            raise DataError(f"column '{over}' is {frame[over].iloc[0]} for all units; there is nothing to compare")
        for column in (over, *under):
            if frame[column].sum() <= 0:
                raise DataError(
                    f"column '{column}' adds up to {frame[column].sum()}; changes are shares of a positive mean"
                )


def columns(design: Design) -> list[str]:
    """The columns of numbers that a design names, each once."""
    named = [*design.metrics, *design.guardrails, *design.covariates.values()]
    return list(dict.fromkeys(column for name in named for column in name.split("/")))


def metric(name: str, covariate: str | None = None, **settings: Any) -> "tt.RatioOfMeans":
    """tea-tasting's metric of a column or ratio, with CUPED where it has a covariate."""
    with require_extra("abtest"):
        import tea_tasting as tt
    over, _, under = name.partition("/")
    before, _, before_under = (covariate or "").partition("/")
    return tt.RatioOfMeans(over, under or None, before or None, before_under or None, **settings)


def _sample_ratio(frame: pd.DataFrame, variant: str, design: Design, name: str) -> float:
    with require_extra("abtest"):
        import tea_tasting as tt
    ratio = design.shares[name] / design.shares[design.control]
    return tt.SampleRatio(ratio).analyze(frame[[variant]], design.control, name, variant).pvalue


def _effects(frame: pd.DataFrame, variant: str, design: Design, name: str) -> list[Effect]:
    """Of a frame of control and one other variant."""
    with require_extra("abtest"):
        import tea_tasting as tt
    units, live = len(frame), design.live and design.live * (design.shares[design.control] + design.shares[name])
    level = single_look_level(units, live, design.alpha) if live else design.alpha
    settings: Any = {"confidence_level": 1 - level, "use_t": not live, "alpha": level, "power": design.power}
    settings["ratio"] = float((frame[variant] == name).sum() / (frame[variant] == design.control).sum())
    names = list(dict.fromkeys([*design.metrics, *design.guardrails]))
    tests = {each: metric(each, design.covariates.get(each), **settings) for each in names}
    plain = {f"plain {each}": metric(each, **settings) for each in names if each in design.covariates}
    found: Any = tt.Experiment(tests | plain, variant).analyze(frame, design.control)
    effects = []
    for each in names:
        p = p_value(found[each].statistic, units, live, design.alpha) if live else found[each].pvalue
        saved = 1 - (_width(found[each]) / _width(found.get(f"plain {each}", found[each]))) ** 2
        detectable = _detectable(frame, each, design, settings)
        effects.append(
            Effect(name, each, **_figures(found[each]), p_value=p, adjusted=p, saved=saved, detectable=detectable)
        )
    return effects


def _figures(found: Any) -> dict[str, float]:
    return {
        "control": found.control,
        "treatment": found.treatment,
        "low": found.effect_size_ci_lower,
        "high": found.effect_size_ci_upper,
        "relative": found.rel_effect_size,
        "relative_low": found.rel_effect_size_ci_lower,
        "relative_high": found.rel_effect_size_ci_upper,
    }


def _detectable(frame: pd.DataFrame, name: str, design: Design, settings: Mapping[str, Any]) -> float:
    # normal: the non-central t of large samples is no number in SciPy
    test = metric(name, design.covariates.get(name), **{**settings, "use_t": False})
    return abs(float(test.solve_power(frame)[0].rel_effect_size))


def _width(found: Any) -> float:
    return float(found.effect_size_ci_upper - found.effect_size_ci_lower)


def _adjusted(effects: list[Effect], design: Design) -> list[Effect]:
    """With p-values of the metrics that decide adjusted together, by Benjamini and Hochberg."""
    with require_extra("abtest"):
        import tea_tasting as tt
        from tea_tasting.experiment import ExperimentResult
    tested: dict[Hashable, Any] = {}
    for effect in effects:
        if effect.metric in design.metrics:
            tested.setdefault(effect.variant, ExperimentResult())[effect.metric] = {"pvalue": effect.p_value}
    found: Any = tt.adjust_fdr(tested, alpha=design.alpha)
    return [
        replace(effect, adjusted=found[effect.variant][effect.metric]["pvalue_adj"])
        if effect.metric in design.metrics
        else effect
        for effect in effects
    ]
