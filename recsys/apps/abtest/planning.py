"""How many units, and so how many weeks, a test needs before it starts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import pandas as pd

from recsys.apps.abtest.analysis import build_ratio_metric
from recsys.apps.abtest.sequential import compute_single_look_alpha
from recsys.errors import ConfigError, DataError
from recsys.extras import require_extra

WEEKS = (2, 4, 8, 13, 26, 52)
MAX_WEEKS = 8
"""a longer test is advised against: seasons, prices and other releases come between, and cookies expire"""
ALTERNATIVES = (
    "What helps: a bolder change, which has a larger effect; a metric that is less noisy and closer to the list, such "
    "as clicks or orders instead of spend; a covariate from before the test; interleaving, which compares rankings on "
    "the same people; estimates from logs with propensities. If none of these fits, decide by offline metrics and "
    "watch the live ones."
)


class PastMetric(NamedTuple):
    """A metric before the test: its name, its covariate, and its values or their mean and variance."""

    name: str
    covariate: str | None
    data: Any
    """a frame or tea-tasting's Aggregates"""

    @classmethod
    def from_table(cls, frame: pd.DataFrame, name: str, covariate: str | None) -> Self:
        """The metric from a frame with one row per unit. Raises DataError for missing or unusable columns."""
        columns = [column for ratio in (name, covariate or "") for column in ratio.split("/") if column]
        missing = [column for column in columns if column not in frame]
        if missing:
            raise DataError(f"there is no column '{missing[0]}'; there are {', '.join(map(str, frame.columns))}")
        for column in columns:
            values = frame[column]
            if not pd.api.types.is_numeric_dtype(values) or values.isna().any() or values.sum() <= 0:
                raise DataError(f"column '{column}' is not all numbers with a positive mean; write 0 in empty cells")
        return cls(name, covariate, frame[list(dict.fromkeys(columns))])

    @classmethod
    def from_moments(cls, mean: float, sd: float | None, correlation: float) -> Self:
        """The metric from its mean and standard deviation (None: the mean is a rate), its variance lowered by the
        `correlation` with a covariate. Raises ConfigError for impossible values.
        """
        with require_extra("abtest"):
            from tea_tasting.aggr import Aggregates
        for name, value in (("mean", mean), ("sd", sd)):
            if value is not None and value <= 0:
                raise ConfigError(f"{name}={value} is invalid: expected a number > 0")
        if not -1 < correlation < 1:
            raise ConfigError(f"correlation={correlation} is invalid: expected a number between -1 and 1")
        if sd is None and mean >= 1:
            raise ConfigError(f"mean={mean} is not a rate, so its standard deviation is needed; write sd=VALUE")
        variance = (mean * (1 - mean) if sd is None else sd**2) * (1 - correlation**2)
        return cls("metric", None, Aggregates(1000, {"metric": mean}, {"metric": variance}))


@dataclass(frozen=True)
class AbtestPlan:
    """The shares of the variants, control first, the chance of a false alarm and that of finding the effect."""

    shares: Mapping[str, float]
    alpha: float = 0.05
    power: float = 0.8

    @property
    def pair(self) -> tuple[float, float]:
        """The shares of control and of the smallest other variant."""
        control, *others = self.shares.values()
        return control, min(others)

    def build_metric(self, past: PastMetric, **settings: Any) -> Any:
        """tea-tasting's metric for power calculations on the pair."""
        control, other = self.pair
        settings |= {"ratio": other / control, "alpha": self.alpha, "power": self.power, "use_t": False}
        return build_ratio_metric(past.name, past.covariate, **settings)


def compute_units_needed(past: PastMetric, effect: float, plan: AbtestPlan) -> int:
    """Units of all variants together that detect a relative change of `effect` in any one of them."""
    test = plan.build_metric(past, rel_effect_size=effect)
    return math.ceil(test.solve_power(past.data, "n_obs")[0].n_obs / sum(plan.pair))


def compute_smallest_effect(past: PastMetric, units: int, plan: AbtestPlan) -> float:
    """The relative change that a test with this many units detects with the plan's power."""
    test = plan.build_metric(past, n_obs=max(int(units * sum(plan.pair)), 4))
    return float(abs(test.solve_power(past.data, "rel_effect_size")[0].rel_effect_size))


def compute_live_alpha(alpha: float) -> float:
    """The level of one look at the planned size that is as strict as `alpha` over all looks."""
    return compute_single_look_alpha(1000, 1000, alpha)


def format_plan_table(units: Sequence[int], effects: Sequence[float], power: float) -> str:
    """One line for each of WEEKS: the units by then, and the relative change that they detect."""
    rows = [(week, f"{n:,}", f"{effect:.1%}") for week, n, effect in zip(WEEKS, units, effects, strict=True)]
    names = ["weeks", "units", f"change detected in {power:.0%} of tests"]
    return pd.DataFrame(rows, columns=names).to_string(index=False)


def advise_on_duration(weeks: int, n_needed: int, customers: int | None, effect: float) -> str:
    """Advice on a test of this many weeks and units; `effect` is what a test with all `customers` detects."""
    if customers is not None and n_needed > customers:
        return (
            f"This test cannot be run: it needs {n_needed:,} units and there are {customers:,}. Even with all of "
            f"them it would reliably detect only changes of {effect:.1%} or more. {ALTERNATIVES}"
        )
    if weeks <= MAX_WEEKS:
        return f"Run it for {max(weeks, 2)} whole weeks, and decide at the end."
    return (
        f"This test would need {weeks} weeks, about {_months(weeks)}. Seasons and prices change in that time, "
        f"people return on other devices, and nobody waits that long: plan another test. {ALTERNATIVES}"
    )


def _months(weeks: int) -> str:
    months = round(weeks * 7 / 30.4)
    return f"{months} months" if months < 24 else f"{weeks / 52.2:.0f} years"
