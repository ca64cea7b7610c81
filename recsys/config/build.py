"""From configuration to objects: where the YAML lives, and one way to build what it names."""

import difflib
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsys.config.types import Natural, Positive, mismatch

SHORTHANDS = {"data.path"}
"""settings that no class takes, since others refer to them"""

TRAINING = {"split", "batches", "optimizer", "trainer", "patience"}
"""what data configs set for training; a command that only reads the data leaves it alone"""


class ConfigError(ValueError):
    """A setting that cannot be: says which, its value and what may stand there."""


def config_dir() -> Path:
    """The folder of YAML files: inside the installed package, else beside it in a checkout."""
    inside = Path(__file__).parents[1] / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "configs"


def composed(command: str, *words: str) -> DictConfig:
    """The settings of `recsys COMMAND WORDS`; ConfigError for a word that Hydra refuses."""
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose(command, list(words))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error


def build(node: DictConfig, **facts: Any) -> Any:
    """The object that a node's `_target_` names, from its settings and facts known only at run time; raises what
    its class raises, without Hydra's wrapping.
    """
    settings: Any = OmegaConf.to_container(node, resolve=True)
    ignored = SHORTHANDS | (TRAINING - set(parameters(settings["_target_"])) if "data" in settings else set())
    own = {key: value for key, value in settings.items() if node._get_full_key(key) not in ignored}
    try:
        return instantiate(own, _partial_=True, _convert_="all")(**facts)
    except InstantiationException as error:
        raise error.__cause__ or error  # noqa: B904


def check(config: DictConfig) -> None:
    """Raises ConfigError for a setting that the class it belongs to does not take, or not of this kind."""
    for path, node in _targets(OmegaConf.to_container(config, resolve=True), ""):
        names = parameters(node["_target_"])
        for key, value in node.items():
            if key.startswith("_"):
                continue
            if key in names:
                _check_kind(f"{path}{key}", value, names[key].annotation)
            elif f"{path}{key}" not in SHORTHANDS | TRAINING:
                near = difflib.get_close_matches(key, names, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"it takes: {', '.join(names)}"
                raise ConfigError(f"unknown setting '{path}{key}' of {node['_target_']}; {hint}")


def check_own(config: DictConfig, name: str) -> None:
    """Raises ConfigError for a setting of the command `name` itself that is not of the kind of its default."""
    defaults = OmegaConf.to_container(OmegaConf.load(config_dir() / f"{name}.yaml"))
    _check_like(OmegaConf.to_container(config, resolve=True), defaults, "")
    if "threads" in config:
        _check_kind("threads", config.threads, Positive | None)


def _check_like(settings: Any, defaults: Any, path: str) -> None:
    for key, default in defaults.items():
        if isinstance(default, dict) and isinstance(settings.get(key), dict):
            _check_like(settings[key], default, f"{path}{key}.")
        elif isinstance(default, bool | int | float | list) and settings.get(key) is not None:
            _check_kind(f"{path}{key}", settings[key], Natural if type(default) is int else type(default))


def _check_kind(path: str, value: Any, annotation: Any) -> None:
    expected = mismatch(value, annotation)
    if expected is None or value == "???":
        return
    said = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    quoted = f""", such as {path}='"{said}"'""" if "text" in expected and not isinstance(value, list | dict) else ""
    raise ConfigError(f"{path}={said} cannot be: {expected} is needed{quoted}")


def complete(config: DictConfig) -> None:
    """Raises ConfigError for a setting that has to be given and was not."""
    for path in _missing(OmegaConf.to_container(config), ""):
        raise ConfigError(f"{path} is not set; write {path}=VALUE")


@contextmanager
def extra(name: str) -> Iterator[None]:
    """For imports of optional packages: ConfigError names the extra that brings the one that is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed; run: pip install 'recsys[{name}]'") from error


def one_line(error: Exception) -> str:
    """What Hydra and OmegaConf say over many lines, but for where their own objects stand."""
    lines = [line.strip() for line in str(error).split("Config search path")[0].splitlines()]
    noise = ("full_key:", "object_type", "reference_type", "To append")
    return ", ".join(line.rstrip(".") for line in lines if line and not line.startswith(noise)).replace(":,", ":")


def parameters(target: str) -> dict[str, inspect.Parameter]:
    """The parameters of the class or function with this path."""
    taker = get_object(target)
    try:
        found = inspect.signature(taker, eval_str=True).parameters
    except NameError:  # an annotation that only its type checker can read
        found = inspect.signature(taker).parameters
    return {name: p for name, p in found.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _missing(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield from _missing(child, f"{path}.{key}".lstrip("."))
    elif node == "???":
        yield path


def _targets(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        for n, child in enumerate(node):
            yield from _targets(child, f"{path}{n}.")
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, child in node.items():
            yield from _targets(child, f"{path}{key}.")
