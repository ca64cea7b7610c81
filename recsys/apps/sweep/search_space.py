"""Search spaces in Hydra's words: `optimizer.lr: tag(log, interval(0.0003, 0.01))`, `model.dim: choice(32,64)`."""

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
class Setting:
    """A key of the configuration, or a group of it, and what it may be."""

    key: str
    said: str
    distribution: BaseDistribution
    values: Mapping[str, Any]
    """of a choice: what each of its texts means"""

    def drawn(self, trial: BaseTrial) -> str:
        """The trial's own value as a word of the command line."""
        own = self.distribution
        if isinstance(own, CategoricalDistribution):
            return f"{self.key}={trial.suggest_categorical(self.key, own.choices)}"
        if isinstance(own, IntDistribution):
            return f"{self.key}={trial.suggest_int(self.key, own.low, own.high, step=own.step, log=own.log)}"
        assert isinstance(own, FloatDistribution)
        return f"{self.key}={trial.suggest_float(self.key, own.low, own.high, step=own.step, log=own.log)!r}"

    def standing(self, config: DictConfig, choices: Mapping[str, str]) -> Any:
        """What the key is without a sweep, as the trial's parameter; ConfigError where the sweep would not try it."""
        if self.key not in choices and self.key not in flatten_settings(OmegaConf.to_container(config), ""):
            raise ConfigError(f"space: the configuration has no '{self.key}'")
        value = choices[self.key] if self.key in choices else OmegaConf.select(config, self.key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        found: Any
        if self.values:
            found = next((text for text, meaning in self.values.items() if meaning == value), None)
        else:
            own = self.distribution
            assert isinstance(own, IntDistribution | FloatDistribution)
            found = value if isinstance(value, int | float) and own.low <= value <= own.high else None
        if found is None:
            raise ConfigError(
                f"{self.key}={value} lies outside the sweep's {self.said}; widen space.{self.key}, leave it out with "
                f"~space.{self.key}, or start from another {self.key}="
            )
        return found


def parsed(space: DictConfig) -> list[Setting]:
    """The settings of a space; ConfigError names the one that cannot be read."""
    said = {
        key: value for key, value in flatten_settings(OmegaConf.to_container(space, resolve=True), "").items() if key
    }
    if not said:
        raise ConfigError("space is empty: a sweep needs a setting to search for")
    return [_setting(key, str(value)) for key, value in said.items()]


def _setting(key: str, said: str) -> Setting:
    try:
        override = OverridesParser.create().parse_override(f"{key}={said}")
        distribution, values = _distribution(override)
    except (HydraException, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"space.{key}='{said}' cannot be read ({reason}); write {EXAMPLES}") from error
    return Setting(key, said, distribution, values)


def _distribution(override: Override) -> tuple[BaseDistribution, dict[str, Any]]:
    sweep = override.value()
    if isinstance(sweep, ChoiceSweep):
        texts = list(override.sweep_string_iterator())
        meanings = [value.text if isinstance(value, QuotedString) else value for value in sweep.list]
        return CategoricalDistribution(texts), dict(zip(texts, meanings, strict=True))
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None and sweep.end is not None
        return _between(sweep.start, sweep.end, None, "log" in sweep.tags), {}
    if isinstance(sweep, RangeSweep):
        steps = list(override.sweep_iterator())
        if not steps:
            raise ValueError("an empty range")
        return _between(min(steps), max(steps), abs(sweep.step), False), {}  # type: ignore[type-var, arg-type]
    raise ValueError("one value, or names that only Hydra can find")


def _between(low: float, high: float, step: float | None, log: bool) -> BaseDistribution:
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, step=int(step or 1), log=log)
    return FloatDistribution(low, high, step=step, log=log)
