"""Composes settings from YAML files and the words of a command line, and checks them."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recsys.config.build import SHORTHANDS, TRAINING_SETTINGS, parameters
from recsys.config.types import Natural, Positive, type_mismatch
from recsys.errors import ConfigError


def config_dir() -> Path:
    """The folder of YAML files: in the installed package, or next to it in a checkout."""
    installed = Path(__file__).parents[1] / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"


def compose_settings(command: str, *overrides: str) -> DictConfig:
    """The settings of `recsys COMMAND OVERRIDES`; ConfigError for an override that Hydra rejects."""
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose(command, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(error_line(error)) from error


def check_settings(config: DictConfig) -> None:
    """Raises ConfigError for a setting that its class does not take, or whose value has the wrong type."""
    for path, node in _nodes_with_target(OmegaConf.to_container(config, resolve=True), ""):
        names = parameters(node["_target_"])
        for key, value in node.items():
            if key.startswith("_"):
                continue
            if key in names:
                _check_type(f"{path}{key}", value, names[key].annotation)
            elif f"{path}{key}" not in SHORTHANDS | TRAINING_SETTINGS:
                close = difflib.get_close_matches(key, names, 1)
                hint = f"did you mean '{close[0]}'?" if close else f"it takes: {', '.join(names)}"
                raise ConfigError(f"unknown setting '{path}{key}' of {node['_target_']}; {hint}")


def check_command_settings(config: DictConfig, command: str) -> None:
    """Raises ConfigError for a setting of the command itself whose type differs from that of its default."""
    defaults = OmegaConf.to_container(OmegaConf.load(config_dir() / f"{command}.yaml"))
    _check_like_defaults(OmegaConf.to_container(config, resolve=True), defaults, "")
    if "threads" in config:
        _check_type("threads", config.threads, Positive | None)


def check_required_settings(config: DictConfig) -> None:
    """Raises ConfigError for a required setting that is missing."""
    for path in _missing_paths(OmegaConf.to_container(config), ""):
        raise ConfigError(f"{path} is not set; write {path}=VALUE")


def error_line(error: Exception) -> str:
    """A long message of Hydra or OmegaConf as one line, without the names of their internal objects."""
    lines = [line.strip() for line in str(error).split("Config search path")[0].splitlines()]
    noise = ("full_key:", "object_type", "reference_type", "To append")
    return ", ".join(line.rstrip(".") for line in lines if line and not line.startswith(noise)).replace(":,", ":")


def _check_like_defaults(settings: Any, defaults: Any, path: str) -> None:
    for key, default in defaults.items():
        if isinstance(default, dict) and isinstance(settings.get(key), dict):
            _check_like_defaults(settings[key], default, f"{path}{key}.")
        elif isinstance(default, bool | int | float | list) and settings.get(key) is not None:
            _check_type(f"{path}{key}", settings[key], Natural if type(default) is int else type(default))


def _check_type(path: str, value: Any, annotation: Any) -> None:
    expected = type_mismatch(value, annotation)
    if expected is None or value == "???":
        return
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    quoted = f""", such as {path}='"{text}"'""" if "text" in expected and not isinstance(value, list | dict) else ""
    raise ConfigError(f"{path}={text} is invalid: expected {expected}{quoted}")


def _missing_paths(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield from _missing_paths(child, f"{path}.{key}".lstrip("."))
    elif node == "???":
        yield path


def _nodes_with_target(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, list):
        for n, child in enumerate(node):
            yield from _nodes_with_target(child, f"{path}{n}.")
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, child in node.items():
            yield from _nodes_with_target(child, f"{path}{key}.")
