"""The training configuration of a sweep or trial, and the best trial as a file for `experiment=`."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig, OmegaConf
from optuna.trial import BaseTrial

from recsys.apps.sweep.search_space import SearchSetting
from recsys.evaluation.leaderboard import IGNORED_SETTINGS, flatten_settings
from recsys.run import write_text

SWEEP_GROUPS = ("sweep", "sampler", "pruner", "hydra/")
OMITTED_GROUPS = ("logger", "baselines", "experiment", "model@baselines")
"""groups that do not change the model's metrics, or whose settings are written one by one"""


def compose_training(words: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """Returns the configuration that `recsys train` would have with a sweep's words, and the choice in each group."""
    composed = compose("sweep", list(words), return_hydra_config=True)
    groups = composed.hydra.runtime.choices.items()
    choices = {group: choice for group, choice in groups if choice is not None and not group.startswith(SWEEP_GROUPS)}
    return OmegaConf.masked_copy(composed, list(_list_training_keys())), choices


@cache
def _list_training_keys() -> tuple[str, ...]:
    return tuple(map(str, compose("train")))


def compose_trial(
    words: Sequence[str], settings: Sequence[SearchSetting], trial: BaseTrial
) -> tuple[DictConfig, dict[str, str]]:
    """Returns the same for a trial, whose values replace those of the words."""
    keys = {setting.key for setting in settings}
    other_words = [word for word in words if word.lstrip("+").split("=")[0] not in keys]
    return compose_training([*other_words, *(setting.suggest(trial) for setting in settings)])


def write_experiment(path: Path, config: DictConfig, choices: Mapping[str, str], comment: str) -> None:
    """Writes the file with which `recsys train experiment=NAME` trains this configuration: only what differs from the
    defaults of its groups.
    """
    groups = {group: choice for group, choice in choices.items() if not group.startswith(OMITTED_GROUPS)}
    defaults = compose("train", [f"{group}={choice}" for group, choice in groups.items()])
    before = flatten_settings(OmegaConf.to_container(defaults), "")
    changed = OmegaConf.create({"defaults": [{f"override /{group}": choice} for group, choice in groups.items()]})
    for key, value in flatten_settings(OmegaConf.to_container(config), "").items():
        if not key.startswith(IGNORED_SETTINGS) and (key not in before or before[key] != value):
            OmegaConf.update(changed, key, value, force_add=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"# @package _global_\n# {comment}\n{OmegaConf.to_yaml(changed)}")
