"""Configurations as the commands compose them."""

from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from recsys.config.settings import config_dir
from recsys.models.base import Trainable


def _class(model: str) -> type:
    return get_class(OmegaConf.load(config_dir() / "model" / f"{model}.yaml")._target_)


MODELS = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
LOSSES = sorted(path.stem for path in (config_dir() / "loss").glob("*.yaml") if path.stem != "sampled_softmax_64")
EXPERIMENTS = sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml"))
TRAINABLE = [name for name in MODELS if issubclass(_class(name), Trainable)]


def composed(*words: str, name: str = "train") -> DictConfig:
    """The configuration of `recsys train WORDS`."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(name, list(words))
    OmegaConf.set_readonly(config, True)
    return config
