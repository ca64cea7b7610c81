"""Builds the object that the `_target_` of a settings node names."""

import inspect
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from recsys.config.moved import current_target, update_targets

SHORTHANDS = {"data.path"}
"""settings that only other settings refer to; no class takes them"""
TRAINING_SETTINGS = {"split", "batches", "optimizer", "trainer", "patience"}
"""settings that data configs choose for training; a command that only reads the data ignores them"""


def build(node: DictConfig, **arguments: Any) -> Any:
    """The object that a node's `_target_` names, built from its settings and from `arguments` known only at run time.

    Errors of the class are raised as they are, not wrapped by Hydra.
    """
    settings: Any = update_targets(OmegaConf.to_container(node, resolve=True))
    ignored = set(SHORTHANDS)
    if "data" in settings:
        ignored |= TRAINING_SETTINGS - set(parameters(settings["_target_"]))
    settings = {key: value for key, value in settings.items() if node._get_full_key(key) not in ignored}
    try:
        return instantiate(settings, _partial_=True, _convert_="all")(**arguments)
    except InstantiationException as error:
        raise error.__cause__ or error  # noqa: B904


def parameters(target: str) -> dict[str, inspect.Parameter]:
    """The parameters of the class or function with this path."""
    function = get_object(current_target(target))
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError:  # an annotation that only a type checker can resolve
        signature = inspect.signature(function)
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: parameter for name, parameter in signature.parameters.items() if parameter.kind not in variadic}
