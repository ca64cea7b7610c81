"""Search spaces in Hydra's syntax: `optimizer.lr: tag(log, interval(0.0003, 0.01))`, `model.dim: choice(32,64)`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from recsys.errors import ConfigError
from recsys.evaluation.leaderboard import flatten_settings

EXAMPLES = "choice(32,64), interval(0.0, 0.6), tag(log, interval(0.001, 0.1)), int(interval(1, 4)) or range(10,50,10)"


@dataclass(frozen=True)
class SearchSetting:
    """A key or a group of the configuration, and the values that the sweep may give it."""

    key: str
    expression: str
    distribution: BaseDistribution
    values: Mapping[str, Any]
    """for a choice: what each of its texts means"""

    def suggest(self, trial: BaseTrial) -> str:
        """Returns the trial's value as an override on the command line."""
        space = self.distribution
        if isinstance(space, CategoricalDistribution):
            return f"{self.key}={trial.suggest_categorical(self.key, space.choices)}"
        if isinstance(space, IntDistribution):
            return f"{self.key}={trial.suggest_int(self.key, space.low, space.high, step=space.step, log=space.log)}"
        assert isinstance(space, FloatDistribution)
        return f"{self.key}={trial.suggest_float(self.key, space.low, space.high, step=space.step, log=space.log)!r}"

    def find_default(self, config: DictConfig, choices: Mapping[str, str]) -> Any:
        """Returns the key's value without a sweep, as the trial's parameter; ConfigError if it is outside the space."""
        if self.key not in choices and self.key not in flatten_settings(OmegaConf.to_container(config), ""):
            raise ConfigError(f"space: the configuration has no '{self.key}'")
        value = choices[self.key] if self.key in choices else OmegaConf.select(config, self.key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        default = self._match(value)
        if default is None:
            raise ConfigError(
                f"{self.key}={value} lies outside the sweep's {self.expression}; widen space.{self.key}, leave it out "
                f"with ~space.{self.key}, or start from another {self.key}="
            )
        return default

    def _match(self, value: Any) -> Any:
        """Returns the parameter that stands for a value; None if the space does not contain it."""
        if self.values:
            return next((text for text, meaning in self.values.items() if meaning == value), None)
        space = self.distribution
        assert isinstance(space, IntDistribution | FloatDistribution)
        return value if isinstance(value, int | float) and space.low <= value <= space.high else None


def parse_search_space(space: DictConfig) -> list[SearchSetting]:
    """Returns the settings of a space; ConfigError names one that cannot be read."""
    flat_space = flatten_settings(OmegaConf.to_container(space, resolve=True), "")
    expressions = {key: value for key, value in flat_space.items() if key}
    if not expressions:
        raise ConfigError("space is empty: a sweep needs a setting to search for")
    return [_parse_setting(key, str(value)) for key, value in expressions.items()]


def _parse_setting(key: str, expression: str) -> SearchSetting:
    try:
        override = OverridesParser.create().parse_override(f"{key}={expression}")
        distribution, values = _make_distribution(override)
    except (HydraException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"space.{key}='{expression}' cannot be read ({reason}); write {EXAMPLES}") from error
    return SearchSetting(key, expression, distribution, values)


def _make_distribution(override: Override) -> tuple[BaseDistribution, dict[str, Any]]:
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        texts = list(override.sweep_string_iterator())
        meanings = [value.text if isinstance(value, QuotedString) else value for value in sweep.list]
        return CategoricalDistribution(texts), dict(zip(texts, meanings, strict=True))
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None and sweep.end is not None
        return _make_interval(sweep.start, sweep.end, None, "log" in sweep.tags), {}
    if isinstance(sweep, RangeSweep):
        steps = list(override.sweep_iterator())
        if not steps:
            raise ValueError("an empty range")
        return _make_interval(min(steps), max(steps), abs(sweep.step), False), {}  # type: ignore[type-var, arg-type]
    raise ValueError("a single value, or names that only Hydra can look up")


def _make_interval(low: float, high: float, step: float | None, log: bool) -> BaseDistribution:
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, step=int(step or 1), log=log)
    return FloatDistribution(low, high, step=step, log=log)
