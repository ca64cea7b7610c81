"""What a sweep's words give a training, and the best of it as a file for `experiment=`."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from hydra import compose
from omegaconf import DictConfig, OmegaConf
from optuna.trial import BaseTrial

from recsys.apps.sweep.search_space import Setting
from recsys.evaluation.leaderboard import IGNORED_SETTINGS, flatten_settings
from recsys.run import write_text

OWN = ("sweep", "sampler", "pruner", "hydra/")
UNSAID = ("logger", "baselines", "experiment", "model@baselines")
"""groups that change no figure of the model, or whose settings are written one by one"""


def training(words: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """The configuration that `recsys train` would have with a sweep's words, and the choice of each of its groups."""
    whole = compose("sweep", list(words), return_hydra_config=True)
    every = whole.hydra.runtime.choices.items()
    choices = {group: choice for group, choice in every if choice is not None and not group.startswith(OWN)}
    return OmegaConf.masked_copy(whole, list(_kept())), choices


@cache
def _kept() -> tuple[str, ...]:
    """The keys of `recsys train`."""
    return tuple(map(str, compose("train")))


def composed(words: Sequence[str], settings: Sequence[Setting], trial: BaseTrial) -> tuple[DictConfig, dict[str, str]]:
    """The same of a trial, whose settings take the place of the words'."""
    keys = {setting.key for setting in settings}
    own = [word for word in words if word.lstrip("+").split("=")[0] not in keys]
    return training([*own, *(setting.drawn(trial) for setting in settings)])


def write(path: Path, config: DictConfig, choices: Mapping[str, str], comment: str) -> None:
    """Write the file with which `recsys train experiment=NAME` trains this configuration: only what differs from the
    defaults of its groups.
    """
    said = {group: choice for group, choice in choices.items() if not group.startswith(UNSAID)}
    plain = compose("train", [f"{group}={choice}" for group, choice in said.items()])
    before = flatten_settings(OmegaConf.to_container(plain), "")
    changed = OmegaConf.create({"defaults": [{f"override /{group}": choice} for group, choice in said.items()]})
    for key, value in flatten_settings(OmegaConf.to_container(config), "").items():
        if not key.startswith(IGNORED_SETTINGS) and (key not in before or before[key] != value):
            OmegaConf.update(changed, key, value, force_add=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"# @package _global_\n# {comment}\n{OmegaConf.to_yaml(changed)}")
