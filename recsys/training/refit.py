"""A second training, on all that came before the test: validation has said how long, and is then learned from too."""

import logging

from omegaconf import DictConfig, OmegaConf

from recsys.data.dataset import Dataset, TrainPlusValidation
from recsys.errors import ConfigError
from recsys.models.base import Model, Trainable
from recsys.run import Run
from recsys.training.distributed import launched
from recsys.training.fit import fit, learn, seeded

log = logging.getLogger(__name__)
VALIDATED = "validated"
"""weights of the model that validation chose"""


def refitted(config: DictConfig, dataset: Dataset, run: Run) -> tuple[Model, Model]:
    """The model that validation chose (validated.pt), and one of the same seed that was trained for as many epochs on
    what came before the test (model.pt). A run that was cut goes on; ConfigError under torchrun.
    """
    if launched():
        raise ConfigError("refit=true is not for torchrun; use trainer=ddp on one machine")
    chosen = fit(config, dataset, run, weights=VALIDATED)
    if not isinstance(chosen, Trainable):
        raise ConfigError("refit=true is for models that are trained; a closed form is fitted to validation anyway")
    epochs = run.read_json("training")["epoch"] + 1
    log.info("training anew on validation's events too: %s epochs", epochs)
    whole, model = TrainPlusValidation(dataset.folder), seeded(config, dataset)
    assert isinstance(model, Trainable)
    model.prepare(whole)
    longer = OmegaConf.merge(config, {"trainer": {"max_epochs": epochs, "max_time": None, "limit_val_batches": 0}})
    assert isinstance(longer, DictConfig)
    learn(model, whole, longer, run.second("refit"), [])
    run.save_weights(model.state_dict())
    return chosen, model.eval()


def learned_from(config: DictConfig, dataset: Dataset) -> Dataset:
    """The dataset whose training part a run of the configuration has learned from."""
    return TrainPlusValidation(dataset.folder) if config.get("refit") else dataset
