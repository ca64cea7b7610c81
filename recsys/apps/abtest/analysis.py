"""The statistics of an A/B test: first the sample ratio, then every metric of every variant against control.

tea-tasting does the arithmetic. A metric is a column, or a ratio of two columns, written `orders/sessions`.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from recsys.apps.abtest.design import AbtestDesign, check_metric_columns, check_variants
from recsys.apps.abtest.sequential import compute_sequential_p_value, compute_single_look_alpha
from recsys.extras import require_extra

if TYPE_CHECKING:
    import tea_tasting as tt

MISMATCH_LEVEL = 0.001
"""p-value of the sample ratio below which no metric is analyzed"""


@dataclass(frozen=True)
class MetricEffect:
    """One metric of one variant against control; fields that begin with `relative` are fractions of control's mean."""

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
    adjusted_p_value: float
    """controls the false discovery rate over all metrics and variants; guardrails keep their own p-value"""
    variance_reduction: float
    """fraction of the variance that the covariate removed"""
    detectable_change: float
    """relative change that a test of this size detects with the planned power"""


@dataclass(frozen=True)
class AnalysisResult:
    """Units per variant, the p-value of the sample ratio, and effects unless that is below MISMATCH_LEVEL."""

    counts: dict[str, int]
    mismatch_p_value: float
    effects: list[MetricEffect]

    @property
    def has_mismatch(self) -> bool:
        """Whether the sizes of the groups differ from the plan by more than chance explains."""
        return self.mismatch_p_value < MISMATCH_LEVEL


def analyze_variants(frame: pd.DataFrame, design: AbtestDesign, variant_column: str = "variant") -> AnalysisResult:
    """The result of a test from a frame with one row per unit. Raises DataError for unusable columns."""
    counts = {name: int((frame[variant_column] == name).sum()) for name in design.shares}
    check_variants(frame[variant_column], design, counts)
    check_metric_columns(frame, design)
    treatments = [name for name in counts if name != design.control]
    p_value = min(_sample_ratio_p_value(frame, variant_column, design, name) for name in treatments)
    if p_value < MISMATCH_LEVEL:
        return AnalysisResult(counts, p_value, [])
    effects = []
    for name in treatments:
        pair = frame[frame[variant_column].isin([design.control, name])]
        effects += _compare_with_control(pair, variant_column, design, name)
    return AnalysisResult(counts, p_value, _adjust_p_values(effects, design))


def build_ratio_metric(name: str, covariate: str | None = None, **settings: Any) -> "tt.RatioOfMeans":
    """tea-tasting's metric for a column or a ratio of two, with CUPED if it has a covariate."""
    with require_extra("abtest"):
        import tea_tasting as tt
    numerator, _, denominator = name.partition("/")
    before, _, before_denominator = (covariate or "").partition("/")
    return tt.RatioOfMeans(numerator, denominator or None, before or None, before_denominator or None, **settings)


def _sample_ratio_p_value(frame: pd.DataFrame, variant_column: str, design: AbtestDesign, name: str) -> float:
    with require_extra("abtest"):
        import tea_tasting as tt
    ratio = design.shares[name] / design.shares[design.control]
    return tt.SampleRatio(ratio).analyze(frame[[variant_column]], design.control, name, variant_column).pvalue


def _compare_with_control(
    pair: pd.DataFrame, variant_column: str, design: AbtestDesign, name: str
) -> list[MetricEffect]:
    """The effects of variant `name` on all metrics, from a frame of that variant and control."""
    with require_extra("abtest"):
        import tea_tasting as tt
    n_planned = _planned_units(design, name)
    settings = _test_settings(pair[variant_column], design, name, n_planned)
    metrics = list(dict.fromkeys([*design.metrics, *design.guardrails]))
    tests = {metric: build_ratio_metric(metric, design.covariates.get(metric), **settings) for metric in metrics}
    with_covariate = [metric for metric in metrics if metric in design.covariates]
    plain = {_plain(metric): build_ratio_metric(metric, **settings) for metric in with_covariate}
    results: Any = tt.Experiment(tests | plain, variant_column).analyze(pair, design.control)
    effects = []
    for metric in metrics:
        result = results[metric]
        p_value = result.pvalue
        if n_planned:
            p_value = compute_sequential_p_value(result.statistic, len(pair), n_planned, design.alpha)
        width_ratio = _interval_width(result) / _interval_width(results.get(_plain(metric), result))
        effect = MetricEffect(
            name,
            metric,
            **_estimates(result),
            p_value=p_value,
            adjusted_p_value=p_value,
            variance_reduction=1 - width_ratio**2,
            detectable_change=_detectable_change(pair, metric, design, settings),
        )
        effects.append(effect)
    return effects


def _test_settings(variants: pd.Series, design: AbtestDesign, name: str, n_planned: float | None) -> dict[str, Any]:
    """tea-tasting's settings of a metric; the interval of a watched test is as wide as its confidence sequence."""
    level = compute_single_look_alpha(len(variants), n_planned, design.alpha) if n_planned else design.alpha
    return {
        "confidence_level": 1 - level,
        "use_t": not n_planned,
        "alpha": level,
        "power": design.power,
        "ratio": float((variants == name).sum() / (variants == design.control).sum()),
    }


def _planned_units(design: AbtestDesign, name: str) -> float | None:
    """Units of control and variant `name` together in a test that is looked at all the time; None for one look."""
    return design.live and design.live * (design.shares[design.control] + design.shares[name])


def _plain(metric: str) -> str:
    """The key of a metric's analysis without its covariate."""
    return f"plain {metric}"


def _estimates(result: Any) -> dict[str, float]:
    """The fields of MetricEffect that tea-tasting computes."""
    return {
        "control": result.control,
        "treatment": result.treatment,
        "low": result.effect_size_ci_lower,
        "high": result.effect_size_ci_upper,
        "relative": result.rel_effect_size,
        "relative_low": result.rel_effect_size_ci_lower,
        "relative_high": result.rel_effect_size_ci_upper,
    }


def _detectable_change(frame: pd.DataFrame, name: str, design: AbtestDesign, settings: Mapping[str, Any]) -> float:
    # with the normal distribution: SciPy's non-central t returns NaN for large samples
    test = build_ratio_metric(name, design.covariates.get(name), **{**settings, "use_t": False})
    return abs(float(test.solve_power(frame)[0].rel_effect_size))


def _interval_width(result: Any) -> float:
    return float(result.effect_size_ci_upper - result.effect_size_ci_lower)


def _adjust_p_values(effects: list[MetricEffect], design: AbtestDesign) -> list[MetricEffect]:
    """The effects with p-values of all metrics but guardrails adjusted together, by Benjamini and Hochberg."""
    with require_extra("abtest"):
        import tea_tasting as tt
        from tea_tasting.experiment import ExperimentResult
    tests: dict[Hashable, Any] = {}
    for effect in effects:
        if effect.metric in design.metrics:
            tests.setdefault(effect.variant, ExperimentResult())[effect.metric] = {"pvalue": effect.p_value}
    results: Any = tt.adjust_fdr(tests, alpha=design.alpha)
    return [
        replace(effect, adjusted_p_value=results[effect.variant][effect.metric]["pvalue_adj"])
        if effect.metric in design.metrics
        else effect
        for effect in effects
    ]
