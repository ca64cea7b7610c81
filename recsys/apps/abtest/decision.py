"""What an analysis means for the shop, in plain words."""

import pandas as pd

from recsys.apps.abtest.analysis import MISMATCH, Analysis, Design, Effect

BETTER, WORSE, UNCLEAR = "better", "worse", "not shown"
KINDS = (BETTER, WORSE, UNCLEAR)
HELD, BROKEN, OPEN = "held", "broken", "not known yet"
BLOCKED = (
    f"No decision: so unequal groups come by chance less than once in {1 / MISMATCH:,.0f} tests. Units are lost or "
    "counted twice in one of them, and every figure would be off. Look for redirects, crashes, bots and filters "
    "that touch one variant only, for units that changed variant, and whether all were exposed by the same rule."
)


def lines(analysis: Analysis, design: Design) -> list[str]:
    """Counts, a table and a decision for each variant; the counts alone where they are not those planned."""
    said = [_counts(analysis, design)]
    if analysis.blocked:
        return [*said, BLOCKED]
    said.append(_table(analysis, design))
    variants = dict.fromkeys(effect.variant for effect in analysis.effects)
    return said + [decision([e for e in analysis.effects if e.variant == name], design) for name in variants]


def verdict(effect: Effect, design: Design) -> str:
    """Whether a metric that decides is better, worse, or neither is shown."""
    if not effect.adjusted < design.alpha:
        return UNCLEAR
    rose = effect.treatment > effect.control
    return BETTER if rose != (effect.metric in design.fewer_is_better) else WORSE


def guarded(effect: Effect, tolerated: float) -> str:
    """Whether a guardrail holds: its interval is on the good side of the tolerated change, the other, or over it."""
    low, high = effect.relative_low - tolerated, effect.relative_high - tolerated
    if tolerated > 0:  # it must not rise by more
        low, high = -high, -low
    return HELD if low > 0 else BROKEN if high < 0 else OPEN


def decision(effects: list[Effect], design: Design) -> str:
    """What to do with one variant, and why."""
    name = effects[0].variant
    metrics = {
        kind: [e for e in effects if e.metric in design.metrics and verdict(e, design) == kind] for kind in KINDS
    }
    rails = {kind: [e for e in effects if _rail(e, design) == kind] for kind in (BROKEN, OPEN)}
    if rails[BROKEN]:
        return f"Keep {design.control}: {name} breaks the guardrail {_said(rails[BROKEN])}."
    if metrics[WORSE] and metrics[BETTER]:
        return f"For people to weigh: {name} wins {_said(metrics[BETTER])} and loses {_said(metrics[WORSE])}."
    if metrics[WORSE]:
        return f"Keep {design.control}: {name} is worse on {_said(metrics[WORSE])}."
    if metrics[BETTER] and rails[OPEN]:
        return (
            f"Not yet: {name} is better on {_said(metrics[BETTER])}, but whether the guardrail holds is open for "
            f"{_said(rails[OPEN])}; run on as planned, or plan a longer test."
        )
    if metrics[BETTER]:
        rest = f"; no change is shown of {', '.join(e.metric for e in metrics[UNCLEAR])}" if metrics[UNCLEAR] else ""
        return f"Take {name}: it is better on {_said(metrics[BETTER])}{rest}."
    return _nothing(name, metrics[UNCLEAR], design)


def _nothing(name: str, effects: list[Effect], design: Design) -> str:
    powers = ", ".join(f"{e.metric} {e.detectable:.1%}" for e in effects)
    go_on = (
        "go on looking, or stop" if design.live else "do not run on until it looks better: that finds what is not there"
    )
    return (
        f"No difference is shown between {name} and {design.control}: {_said(effects)}. That is no proof of none: a "
        f"test of this size finds, in {design.power:.0%} of cases, a change of {powers} or more. "
        f"Keep {design.control} or the simpler of the two; {go_on}."
    )


def _rail(effect: Effect, design: Design) -> str | None:
    return guarded(effect, design.guardrails[effect.metric]) if effect.metric in design.guardrails else None


def _said(effects: list[Effect]) -> str:
    return ", ".join(
        f"{e.metric} ({e.relative:+.1%}, {e.relative_low:+.1%} to {e.relative_high:+.1%})" for e in effects
    )


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _counts(analysis: Analysis, design: Design) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in analysis.counts.items())
    planned = "/".join(f"{100 * design.shares[name]:g}" for name in analysis.counts)
    return f"units: {counts}; planned {planned} %, p = {analysis.mismatch:.2g}"


def _table(analysis: Analysis, design: Design) -> str:
    rows = [
        {
            "variant": e.variant,
            "metric": e.metric,
            design.control: f"{e.control:.5g}",
            "treated": f"{e.treatment:.5g}",
            "difference": f"{e.treatment - e.control:+.4g}",
            f"{1 - design.alpha:.0%} of it": f"{e.low:+.4g} to {e.high:+.4g}",
            "relative": f"{e.relative:+.1%}",
            "p": _p(e.p_value),
            "adjusted": _p(e.adjusted) if e.metric in design.metrics else "",
            "CUPED saved": f"{e.saved:.0%}" if e.metric in design.covariates else "",
            "says": verdict(e, design) if e.metric in design.metrics else f"guardrail {_rail(e, design)}",
        }
        for e in analysis.effects
    ]
    return pd.DataFrame(rows).to_string(index=False)
