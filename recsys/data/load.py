"""Loads the prepared dataset that a configuration describes."""

import logging

from omegaconf import DictConfig

from recsys.config.build import build
from recsys.config.settings import check_settings
from recsys.data.dataset import Dataset
from recsys.data.preparation.prepare import prepare
from recsys.data.preparation.splits import Split
from recsys.errors import ConfigError

log = logging.getLogger(__name__)


def load_dataset(config: DictConfig) -> Dataset:
    """The prepared dataset of a configuration, all of whose settings are checked before anything is read."""
    check_settings(config)
    if not config.ks or min(config.ks) < 1:
        raise ConfigError(f"ks={list(config.ks)} must hold lengths of lists, 1 or more")
    split: Split = build(config.split)
    dataset = prepare(build(config.data), split)
    counts = dataset.metadata["counts"]
    log.info("%s: %s", dataset.metadata["name"], ", ".join(f"{n:,} {name}" for name, n in counts.items()))
    if max(config.ks) > dataset.n_items:
        raise ConfigError(f"k={max(config.ks)} is larger than the catalogue of {dataset.n_items:,} items; lower ks")
    log.info(
        "%s users, %s items, split %s",
        f"{dataset.n_users:,}",
        f"{dataset.n_items:,}",
        dataset.split_hash[:12],
    )
    return dataset
