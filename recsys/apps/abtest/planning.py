"""How many units, and so how many weeks, a test needs before it is begun."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from recsys.apps.abtest.analysis import metric
from recsys.apps.abtest.sequential import single_look_level
from recsys.errors import ConfigError, DataError
from recsys.extras import require_extra

WEEKS = (2, 4, 8, 13, 26, 52)
PATIENCE = 8
"""weeks after which a test is called long: seasons, prices and other releases come between, and cookies go"""


class Sample(NamedTuple):
    """What the past says of a metric: tea-tasting's metric of it and the data, or their mean and variance, it reads."""

    name: str
    covariate: str | None
    data: Any


def from_frame(frame: pd.DataFrame, name: str, covariate: str | None) -> Sample:
    """Of a frame with a row a unit."""
    used = [column for each in (name, covariate or "") for column in each.split("/") if column]
    missing = [column for column in used if column not in frame]
    if missing:
        raise DataError(f"there is no column '{missing[0]}'; there are {', '.join(map(str, frame.columns))}")
    for column in used:
        if not pd.api.types.is_numeric_dtype(frame[column]) or frame[column].isna().any() or frame[column].sum() <= 0:
            raise DataError(f"column '{column}' is not all numbers with a positive mean; write 0 for empty cells")
    return Sample(name, covariate, frame[list(dict.fromkeys(used))])


def from_figures(mean: float, sd: float | None, correlation: float) -> Sample:
    """Of a mean and a standard deviation (None: of a share), lowered by the covariate's `correlation`."""
    with require_extra("abtest"):
        from tea_tasting.aggr import Aggregates
    if mean <= 0 or (sd is not None and sd <= 0) or not -1 < correlation < 1:
        raise ConfigError(
            f"mean={mean}, sd={sd}, correlation={correlation}: give positive ones, and less than 1 of the last"
        )
    if sd is None and mean >= 1:
        raise ConfigError(f"mean={mean} is no share, so its sd is needed; write sd=VALUE")
    variance = (mean * (1 - mean) if sd is None else sd**2) * (1 - correlation**2)
    return Sample("metric", None, Aggregates(1000, {"metric": mean}, {"metric": variance}))


def units_needed(sample: Sample, effect: float, shares: Mapping[str, float], alpha: float, power: float) -> int:
    """Units of all variants together for a relative change of `effect` in any one of them."""
    pair, settings = _pair(shares), {"alpha": alpha, "power": power, "use_t": False}
    wanted = metric(sample.name, sample.covariate, ratio=pair[1] / pair[0], rel_effect_size=effect, **settings)
    return math.ceil(wanted.solve_power(sample.data, "n_obs")[0].n_obs / sum(pair))


def smallest_effect(sample: Sample, units: int, shares: Mapping[str, float], alpha: float, power: float) -> float:
    """The relative change that a test of so many units finds with this power."""
    pair, settings = _pair(shares), {"alpha": alpha, "power": power, "use_t": False}
    count = max(int(units * sum(pair)), 4)
    test = metric(sample.name, sample.covariate, ratio=pair[1] / pair[0], n_obs=count, **settings)
    return float(abs(test.solve_power(sample.data, "rel_effect_size")[0].rel_effect_size))


def live_level(alpha: float) -> float:
    """The level that stands for `alpha` where a test is looked at all the time, at its planned size."""
    return single_look_level(1000, 1000, alpha)


def _pair(shares: Mapping[str, float]) -> tuple[float, float]:
    """The shares of control, which is named first, and of the smallest other variant."""
    first, *others = shares.values()
    return first, min(others)


def table(units: Sequence[int], found: Sequence[float], power: float) -> str:
    """A line for each of WEEKS: the units by then, and the relative change that they show."""
    rows = [(week, f"{n:,}", f"{change:.1%}") for week, n, change in zip(WEEKS, units, found, strict=True)]
    return pd.DataFrame(rows, columns=["weeks", "units", f"change found in {power:.0%} of tests"]).to_string(
        index=False
    )


def advice(weeks: int, needed: int, customers: int | None, effect: float) -> str:
    """What the number of weeks means."""
    if customers is not None and needed > customers:
        return (
            f"This test cannot be run: it needs {needed:,} units and there are {customers:,}. With all of them it "
            f"would still miss most changes under {effect:.1%}. {ALTERNATIVES}"
        )
    if weeks <= PATIENCE:
        return f"Run it for {max(weeks, 2)} whole weeks, and decide at the end."
    return (
        f"This test would need {weeks} weeks, about {_months(weeks)}. In that time seasons and prices change, people "
        f"return on other devices and nobody waits: plan another test. {ALTERNATIVES}"
    )


def _months(weeks: int) -> str:
    months = round(weeks * 7 / 30.4)
    return f"{months} months" if months < 24 else f"{weeks / 52.2:.0f} years"


ALTERNATIVES = (
    "What helps: ask for a larger effect, by testing a bolder change; a metric nearer to the list and less noisy, such "
    "as clicks or orders instead of spend; a covariate from before the test; interleaving, which compares rankings on "
    "the same people; estimates from logs with propensities. If none fits, decide by offline figures and watch."
)
