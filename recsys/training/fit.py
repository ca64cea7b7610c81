"""Training of a configured model in a run folder, with checkpoints and early stopping."""

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytorch_lightning as pl
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback

from recsys.config.build import build
from recsys.data.dataset import Dataset
from recsys.models.base import Model, Trainable
from recsys.models.build import build_checked, make_seeded_model, restore
from recsys.run import Run
from recsys.training.callbacks import MONITOR, BestWeights, Patience, Stopwatch, make_last_checkpoint
from recsys.training.datamodule import BatchDataModule
from recsys.training.distributed import launcher_settings, leave_process_group, process_rank
from recsys.training.ema import make_ema_callbacks
from recsys.training.module import TrainingModule, silence_warnings
from recsys.training.progress import TrainingProgress

log = logging.getLogger(__name__)
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # its import set it to INFO


def fit_model(
    config: DictConfig,
    dataset: Dataset,
    run: Run,
    start_from: Callable[[Trainable], None] | None = None,
    callbacks: Sequence[Callback] = (),
    weights: str = "model",
) -> Model:
    """The configured model with its best weights (`weights`.pt); a closed form is returned unfitted.

    Training continues from the run's last checkpoint if there is one. `start_from` may set the weights of the prepared
    model before training; `callbacks` are added to those that every training has.
    """
    model = make_seeded_model(config, dataset)
    if not isinstance(model, Trainable):
        return model
    model.prepare(dataset)
    if start_from is not None:
        start_from(model)
    limit = f" and {config.trainer.max_time} (days:hours:minutes:seconds)" if config.trainer.max_time else ""
    log.info("training for at most %s epochs%s, patience %s", config.trainer.max_epochs, limit, config.patience)
    defaults = [BestWeights(run, weights), Stopwatch(run), Patience(config.patience)]
    epochs = run_trainer(model, dataset, config, run, [*defaults, *callbacks])
    if process_rank() > 0:  # the first process has the best weights
        return model
    best = run.read_json("training")
    log.info("training finished: best %s %.4f in epoch %s of %s", MONITOR, best["best"], best["epoch"] + 1, epochs)
    return restore(config, dataset, run, weights)


def run_trainer(model: Trainable, dataset: Dataset, config: DictConfig, run: Run, callbacks: Sequence[Callback]) -> int:
    """The number of epochs that the model was trained for; training continues from the run's last.ckpt."""
    make_optimizer = partial(build_checked, config.optimizer)
    module = TrainingModule(model, build_checked(config.loss), make_optimizer, dataset, config.seed)
    trainer: pl.Trainer = build_checked(
        config.trainer,
        logger=[build(node, save_dir=run.folder) for node in config.logger.values()],
        callbacks=[
            *([TrainingProgress()] if config.trainer.enable_progress_bar else []),
            *callbacks,
            # after the callbacks that read the validated weights
            *make_ema_callbacks(config.get("ema"), config.model.get("sparse", False)),
            make_last_checkpoint(run),
        ],
        default_root_dir=run.folder,
        **launcher_settings(),
    )
    with warnings.catch_warnings(), _interruptible(trainer):
        silence_warnings()
        trainer.fit(
            module,
            datamodule=BatchDataModule(config.batches, dataset, config.seed),
            ckpt_path=run.checkpoint if run.checkpoint.exists() else None,
            weights_only=True,
        )
    leave_process_group()
    return trainer.current_epoch


@contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """A context in which Ctrl-C raises KeyboardInterrupt; Lightning alone would exit with status 1."""
    try:
        yield
    except SystemExit as end:
        if trainer.interrupted and end.code == 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores SIGINT from then on
            raise KeyboardInterrupt from None
        raise
