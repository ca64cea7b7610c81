"""A second training, on all that came before the test: validation has said how long, and is then learned from too."""

import logging
from typing import cast

from omegaconf import DictConfig, OmegaConf

from recsys.data.dataset import Dataset, TrainPlusValidation
from recsys.errors import ConfigError
from recsys.models.base import Model, Trainable
from recsys.models.build import make_seeded_model
from recsys.run import VALIDATED, Run
from recsys.training.distributed import launcher_settings
from recsys.training.fit import fit_model, run_trainer

log = logging.getLogger(__name__)


def fit_and_refit(config: DictConfig, dataset: Dataset, run: Run) -> tuple[Model, Model]:
    """The model that validation chose (validated.pt), and one retrained for as many epochs with validation (model.pt).

    Both start from the same seed, and a run that was interrupted continues. Raises ConfigError under torchrun.
    """
    if launcher_settings():
        raise ConfigError("refit=true is not for torchrun; use trainer=ddp on one machine")
    chosen = fit_model(config, dataset, run, weights=VALIDATED)
    if not isinstance(chosen, Trainable):
        raise ConfigError("refit=true is for models that are trained; a closed form is fitted to validation anyway")
    epochs = run.read_json("training")["epoch"] + 1
    log.info("training anew on validation's events too: %s epochs", epochs)
    whole, model = TrainPlusValidation(dataset.folder), cast(Trainable, make_seeded_model(config, dataset))
    model.prepare(whole)
    longer = OmegaConf.merge(config, {"trainer": {"max_epochs": epochs, "max_time": None, "limit_val_batches": 0}})
    assert isinstance(longer, DictConfig)
    run_trainer(model, whole, longer, run.second("refit"), [])
    run.save_weights(model.state_dict())
    return chosen, model.eval()


def dataset_learned_from(config: DictConfig, dataset: Dataset) -> Dataset:
    """The dataset whose training part a run of the configuration has learned from."""
    return TrainPlusValidation(dataset.folder) if config.get("refit") else dataset
