"""From a configuration to a trained, ranked model in a run folder."""

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback

from recsys.config.build import build
from recsys.config.settings import check_settings
from recsys.data.dataset import Dataset
from recsys.data.preparation.prepare import prepare
from recsys.data.preparation.splits import Split
from recsys.errors import ConfigError, TooLargeError
from recsys.models.base import Facts, Model, Trainable
from recsys.run import Run
from recsys.training.callbacks import MONITOR, BestWeights, Patience, Stopwatch, last_checkpoint
from recsys.training.datamodule import Loaders
from recsys.training.dataset import check_same
from recsys.training.distributed import launched, part, rank
from recsys.training.ema import averaging
from recsys.training.module import Training, quieten
from recsys.training.progress import TrainingProgress

log = logging.getLogger(__name__)
logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # its import set it to INFO


def load_dataset(config: DictConfig) -> Dataset:
    """The prepared dataset of a configuration, whose settings are all checked before anything is read."""
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


def make_model(node: DictConfig, dataset: Dataset, max_history: int) -> Model:
    """The model of a configuration; ConfigError if it refuses a setting, or needs an order that the split destroys."""
    model: Model = accepted(node, facts=Facts.of(dataset, max_history))
    if model.order_aware and not dataset.ordered:
        raise ConfigError(f"{type(model).__name__} learns from order, which this split shuffles; choose another split")
    return model


def accepted(node: DictConfig, **facts: Any) -> Any:
    """What a configuration describes; ConfigError where it refuses a setting."""
    try:
        return build(node, **facts)
    except TooLargeError:
        raise
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(str(error)) from error


def fit(
    config: DictConfig,
    dataset: Dataset,
    run: Run,
    begin: Callable[[Trainable], None] | None = None,
    watching: Sequence[Callback] = (),
    weights: str = "model",
) -> Model:
    """The configured model with its best weights (`weights`.pt), trained unless it is of closed form; continues from
    the run's last checkpoint if there is one. `begin` may give a prepared model other weights to start from; `watching`
    are further callbacks of the training.
    """
    model = seeded(config, dataset)
    if isinstance(model, Trainable):
        model.prepare(dataset)
        if begin is not None:
            begin(model)
        callbacks = [BestWeights(run, weights), Stopwatch(run), Patience(config.patience), *watching]
        capped = f" and {config.trainer.max_time} (days:hours:minutes:seconds)" if config.trainer.max_time else ""
        log.info("training: at most %s epochs%s, patience %s", config.trainer.max_epochs, capped, config.patience)
        epochs = learn(model, dataset, config, run, callbacks)
    if rank() > 0:  # the first process has the best weights
        return model
    if isinstance(model, Trainable):
        best = run.read_json("training")
        log.info("training: best %s %.4f in epoch %s of %s", MONITOR, best["best"], best["epoch"] + 1, epochs)
    return restore(config, dataset, run, weights)


def restore(config: DictConfig, dataset: Dataset, run: Run, weights: str = "model") -> Model:
    """The configured model with the run's best weights; a closed form is as yet unfitted. ConfigError where the data
    are not those of the run.
    """
    check_same(run, dataset)
    model = seeded(config, dataset)
    if isinstance(model, Trainable):
        model.load_state_dict(run.load_weights(weights))
    return model.eval()


def seeded(config: DictConfig, dataset: Dataset) -> Model:
    """The configured model as the seed makes it."""
    pl.seed_everything(config.seed, verbose=False)
    if config.threads:
        torch.set_num_threads(config.threads)
        os.environ["OMP_NUM_THREADS"] = str(config.threads)  # for the processes of trainer=ddp
    return make_model(config.model, dataset, config.batches.max_history)


def learn(model: Trainable, dataset: Dataset, config: DictConfig, run: Run, callbacks: Sequence[Callback]) -> int:
    """The number of epochs that the model was trained for, as configured; goes on from last.ckpt of the run."""
    module = Training(model, accepted(config.loss), partial(accepted, config.optimizer), dataset, config.seed)
    trainer: pl.Trainer = accepted(
        config.trainer,
        logger=[build(node, save_dir=run.folder) for node in config.logger.values()],
        callbacks=[
            *([TrainingProgress()] if config.trainer.enable_progress_bar else []),
            *callbacks,
            *averaging(config.get("ema"), config.model.get("sparse", False)),  # behind readers of the validated weights
            last_checkpoint(run),
        ],
        default_root_dir=run.folder,
        **launched(),
    )
    with warnings.catch_warnings(), _interruptible(trainer):
        quieten()
        trainer.fit(
            module,
            datamodule=Loaders(config.batches, dataset, config.seed),
            ckpt_path=run.checkpoint if run.checkpoint.exists() else None,
            weights_only=True,
        )
    part()
    return trainer.current_epoch


@contextmanager
def _interruptible(trainer: pl.Trainer) -> Iterator[None]:
    """Ctrl-C stays KeyboardInterrupt, which Lightning would turn into status 1."""
    try:
        yield
    except SystemExit as end:
        if trainer.interrupted and end.code == 1:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # which Lightning has ignored since
            raise KeyboardInterrupt from None
        raise
