"""Configurations as the commands compose them."""

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from recsys.config import config_dir

MODELS = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
LOSSES = sorted(path.stem for path in (config_dir() / "loss").glob("*.yaml") if path.stem != "sampled_softmax_64")
EXPERIMENTS = sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml"))
TRAINABLE = ["ncf", "sasrec", "two_tower"]


def composed(*words: str, name: str = "train") -> DictConfig:
    """The configuration of `recsys train WORDS`."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(name, list(words))
    OmegaConf.set_readonly(config, True)
    return config
