"""A second training on training and validation data, for the number of epochs that validation chose."""

import logging

from omegaconf import DictConfig, OmegaConf

from recsys.data.dataset import Dataset, TrainPlusValidation
from recsys.errors import ConfigError
from recsys.models.base import Model
from recsys.models.build import make_trainable_model
from recsys.run import VALIDATED, Run
from recsys.training.distributed import launcher_settings
from recsys.training.fit import fit_model, run_trainer

log = logging.getLogger(__name__)


def fit_and_refit(config: DictConfig, dataset: Dataset, run: Run) -> tuple[Model, Model]:
    """The model that validation chose (validated.pt), and one retrained with validation's events (model.pt).

    The second one trains from the same seed for as many epochs as the first needed. An interrupted run continues.
    Raises ConfigError under torchrun.
    """
    if launcher_settings():
        raise ConfigError("refit=true does not work under torchrun; use trainer=ddp on one machine")
    chosen = fit_model(config, dataset, run, weights=VALIDATED)
    if not run.has_weights(VALIDATED):
        raise ConfigError(
            "refit=true is only for models that are trained; this model is fitted to validation's events anyway"
        )
    epochs = run.read_json("training")["epoch"] + 1
    log.info("retraining with validation's events for %s epochs", epochs)
    train_plus_validation = TrainPlusValidation(dataset.folder)
    model = make_trainable_model(config, dataset)
    model.prepare(train_plus_validation)
    refit_config = OmegaConf.merge(
        config, {"trainer": {"max_epochs": epochs, "max_time": None, "limit_val_batches": 0}}
    )
    assert isinstance(refit_config, DictConfig)
    run_trainer(model, train_plus_validation, refit_config, run.create_subfolder("refit"), [])
    run.save_weights(model.state_dict())
    return chosen, model.eval()


def select_learned_dataset(config: DictConfig, dataset: Dataset) -> Dataset:
    """The dataset whose training part is all that a run with these settings learned from."""
    return TrainPlusValidation(dataset.folder) if config.get("refit") else dataset
