"""Builds a model from settings, seeds it, or restores it from a run."""

import inspect
import os
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import get_class
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from recsys.config.build import build
from recsys.config.moved import update_targets
from recsys.data.dataset import Dataset
from recsys.data.run_record import check_same_dataset
from recsys.errors import ConfigError, TooLargeError
from recsys.models.base import DataSpec, Model, Trainable
from recsys.run import Run

SIGNATURES = {"encode": "encode(self, inputs: ModelInputs)", "forward": "forward(self, inputs: ModelInputs)"}


def make_model(node: DictConfig, dataset: Dataset, max_history: int) -> Model:
    """The model that a node of settings describes.

    Raises ConfigError if the class rejects a setting, has the signature of an earlier version, or needs the order of
    events, which the split shuffles; TooLargeError if the catalogue is too large for it.
    """
    spec = DataSpec.from_dataset(dataset, max_history)
    node = resolve_model_settings(node, spec)
    _check_signature(get_class(node._target_))
    model: Model = build_checked(node, spec=spec)
    if model.order_aware and not dataset.ordered:
        raise ConfigError(f"{type(model).__name__} learns from order, which this split shuffles; choose another split")
    if isinstance(model, Trainable):
        model.max_history = max_history
    return model


def make_seeded_model(config: DictConfig, dataset: Dataset) -> Model:
    """The configured model, initialised with the configured seed."""
    pl.seed_everything(config.seed, verbose=False)
    if config.threads:
        torch.set_num_threads(config.threads)
        os.environ["OMP_NUM_THREADS"] = str(config.threads)  # for the processes of trainer=ddp
    return make_model(config.model, dataset, config.batches.max_history)


def make_trainable_model(config: DictConfig, dataset: Dataset) -> Trainable:
    """The configured model as `make_seeded_model` makes it; ConfigError if it is not trained by steps."""
    model = make_seeded_model(config, dataset)
    if not isinstance(model, Trainable):
        raise ConfigError(f"{type(model).__name__} is not trained by steps; choose a model that is")
    return model


def restore(config: DictConfig, dataset: Dataset, run: Run, weights: str = "model", part: str = "test") -> Model:
    """The run's model, ready to rank `part`: with its best weights, or fitted to every event before `part`.

    Raises ConfigError if the run was trained on other data.
    """
    check_same_dataset(run, dataset)
    model = make_seeded_model(config, dataset)
    if isinstance(model, Trainable) or (part == "test" and run.has_weights(weights)):
        model.load_state_dict(run.load_weights(weights))
    else:
        model.fit(dataset, part)
    return model.eval()


def resolve_model_settings(node: DictConfig, spec: DataSpec) -> DictConfig:
    """The node without the nulls that depend on the data, which the class replaces in `resolve_defaults`."""
    settings: Any = update_targets(OmegaConf.to_container(node, resolve=True))
    resolve = getattr(get_class(settings["_target_"]), "resolve_defaults", None)
    return OmegaConf.create(settings if resolve is None else resolve(settings, spec))


def build_checked(node: DictConfig, **arguments: Any) -> Any:
    """The object that a node of settings describes; raises ConfigError if its class rejects a setting."""
    try:
        return build(node, **arguments)
    except TooLargeError:
        raise
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(str(error)) from error


def get_model_name(config: DictConfig) -> str:
    """The name of the model's module, which is also the name of its config file."""
    return str(config.model._target_).split(".")[-2]


def _check_signature(model: type) -> None:
    """Raises ConfigError if a class does not take `spec` and `inputs`, as models of earlier versions do not."""
    wrong = [call for name, call in SIGNATURES.items() if not _takes(model, name, "inputs")]
    if not _takes(model, "__init__", "spec"):
        wrong.append("__init__(self, spec: DataSpec, …)")
    if wrong:
        raise ConfigError(
            f"{model.__module__}.{model.__name__} has the signature of an earlier version; write {', '.join(wrong)} "
            "(import both types from recsys.models.base): docs/add_a_model.md has an example"
        )


def _takes(model: type, method: str, parameter: str) -> bool:
    function = getattr(model, method, None)
    return function is None or parameter in inspect.signature(function).parameters
