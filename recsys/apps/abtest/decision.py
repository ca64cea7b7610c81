"""The result of an analysis in plain words: what to do with each variant, and why."""

import pandas as pd

from recsys.apps.abtest.analysis import MISMATCH_LEVEL, AnalysisResult, MetricEffect
from recsys.apps.abtest.design import AbtestDesign

BETTER, WORSE, UNCLEAR = "better", "worse", "not shown"
METRIC_VERDICTS = (BETTER, WORSE, UNCLEAR)
HELD, BROKEN, OPEN = "held", "broken", "not known yet"
BLOCKED = (
    f"No decision: chance makes groups this unequal in fewer than 1 of {1 / MISMATCH_LEVEL:,.0f} tests. One variant "
    "loses units or counts them twice, so every figure would be biased. Look for redirects, crashes, bots and filters "
    "that affect only one variant, for units that changed variant, and for variants that are exposed by other rules."
)


def describe_result(result: AnalysisResult, design: AbtestDesign) -> list[str]:
    """Counts, a table and a decision per variant; no table and no decision if the counts differ from the plan."""
    lines = [_describe_counts(result, design)]
    if result.has_mismatch:
        return [*lines, BLOCKED]
    lines.append(_format_effects(result.effects, design))
    effects_by_variant: dict[str, list[MetricEffect]] = {}
    for effect in result.effects:
        effects_by_variant.setdefault(effect.variant, []).append(effect)
    return lines + [decide_on_variant(effects, design) for effects in effects_by_variant.values()]


def classify_effect(effect: MetricEffect, design: AbtestDesign) -> str:
    """Whether a metric is shown to be better, worse, or neither."""
    if not effect.adjusted_p_value < design.alpha:
        return UNCLEAR
    rose = effect.treatment > effect.control
    return BETTER if rose != (effect.metric in design.fewer_is_better) else WORSE


def check_guardrail(effect: MetricEffect, tolerance: float) -> str:
    """Whether the interval is on the good side of the tolerated change (held), on the other (broken), or across it."""
    low, high = effect.relative_low - tolerance, effect.relative_high - tolerance
    if tolerance > 0:  # the metric must not rise by more than the tolerance
        low, high = -high, -low
    return HELD if low > 0 else BROKEN if high < 0 else OPEN


def decide_on_variant(effects: list[MetricEffect], design: AbtestDesign) -> str:
    """What to do with one variant, and why."""
    name = effects[0].variant
    metrics: dict[str, list[MetricEffect]] = {verdict: [] for verdict in METRIC_VERDICTS}
    guardrails: dict[str, list[MetricEffect]] = {verdict: [] for verdict in (HELD, BROKEN, OPEN)}
    for effect in effects:
        if effect.metric in design.metrics:
            metrics[classify_effect(effect, design)].append(effect)
        if effect.metric in design.guardrails:
            guardrails[_guardrail_verdict(effect, design)].append(effect)
    if guardrails[BROKEN]:
        return f"Keep {design.control}: {name} breaks the guardrail {_list_effects(guardrails[BROKEN])}."
    if metrics[WORSE] and metrics[BETTER]:
        better, worse = _list_effects(metrics[BETTER]), _list_effects(metrics[WORSE])
        return f"Weigh it yourself: {name} is better on {better} and worse on {worse}."
    if metrics[WORSE]:
        return f"Keep {design.control}: {name} is worse on {_list_effects(metrics[WORSE])}."
    if metrics[BETTER] and guardrails[OPEN]:
        return (
            f"Not yet: {name} is better on {_list_effects(metrics[BETTER])}, but it is not yet clear whether it "
            f"breaks the guardrail {_list_effects(guardrails[OPEN])}; continue as planned, or plan a longer test."
        )
    if metrics[BETTER]:
        unclear = ", ".join(effect.metric for effect in metrics[UNCLEAR])
        note = f"; no change is shown for {unclear}" if unclear else ""
        return f"Take {name}: it is better on {_list_effects(metrics[BETTER])}{note}."
    return _describe_no_difference(name, metrics[UNCLEAR], design)


def _describe_no_difference(name: str, effects: list[MetricEffect], design: AbtestDesign) -> str:
    changes = ", ".join(f"{effect.detectable_change:.1%} in {effect.metric}" for effect in effects)
    advice = (
        "continue to look, or stop"
        if design.live
        else "do not continue until it looks better, which finds differences that do not exist"
    )
    return (
        f"No difference is shown between {name} and {design.control}: {_list_effects(effects)}. That does not prove "
        f"that there is none: in {design.power:.0%} of cases, a test of this size detects a change of "
        f"{changes} or more. "
        f"Keep {design.control} or the simpler of the two; {advice}."
    )


def _guardrail_verdict(effect: MetricEffect, design: AbtestDesign) -> str:
    return check_guardrail(effect, design.guardrails[effect.metric])


def _list_effects(effects: list[MetricEffect]) -> str:
    return ", ".join(
        f"{e.metric} ({e.relative:+.1%}, {e.relative_low:+.1%} to {e.relative_high:+.1%})" for e in effects
    )


def _format_p_value(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _describe_counts(result: AnalysisResult, design: AbtestDesign) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in result.counts.items())
    shares = "/".join(f"{100 * design.shares[name]:g}%" for name in result.counts)
    return f"units: {counts}; planned shares {shares}, sample ratio test p = {result.mismatch_p_value:.2g}"


def _format_effects(effects: list[MetricEffect], design: AbtestDesign) -> str:
    rows = [_format_effect(effect, design) for effect in effects]
    return pd.DataFrame(rows).to_string(index=False)


def _format_effect(effect: MetricEffect, design: AbtestDesign) -> dict[str, str]:
    """One row of the printed table, by column."""
    decides, has_covariate = effect.metric in design.metrics, effect.metric in design.covariates
    verdict = classify_effect(effect, design) if decides else f"guardrail {_guardrail_verdict(effect, design)}"
    return {
        "variant": effect.variant,
        "metric": effect.metric,
        design.control: f"{effect.control:.5g}",
        "treated": f"{effect.treatment:.5g}",
        "difference": f"{effect.treatment - effect.control:+.4g}",
        f"{1 - design.alpha:.0%} interval": f"{effect.low:+.4g} to {effect.high:+.4g}",
        "relative change": f"{effect.relative:+.1%}",
        "p": _format_p_value(effect.p_value),
        "adjusted p": _format_p_value(effect.adjusted_p_value) if decides else "",
        "variance removed": f"{effect.variance_reduction:.0%}" if has_covariate else "",
        "verdict": verdict,
    }
