"""One trial: a run folder, trained and ranked on validation alone."""

import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
from omegaconf import DictConfig
from optuna.trial import Trial
from pytorch_lightning.callbacks import Callback

from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.data.run_record import record_dataset
from recsys.errors import ConfigError
from recsys.evaluation.compare import rank_part
from recsys.evaluation.tables import ranking_to_json
from recsys.export.export import exported
from recsys.models.base import Model
from recsys.models.build import get_model_name
from recsys.run import Run
from recsys.training.callbacks import MONITOR
from recsys.training.fit import fit_model

COSTS = ("cpu_seconds", "n_parameters", "artefact_mb")
"""objectives that are to be small; any other is a metric"""


class Watch(Callback):
    """Tells the study how good each epoch was, and ends the training where the pruner says so."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.pruned = trial, False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """A resumed trial may have been ended by its last epoch."""
        self._judge(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Report the epoch, which a resumed trial may have done already."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The reported value is ignored because this `step`")
            self.trial.report(float(trainer.callback_metrics[MONITOR]), trainer.current_epoch)
        self._judge(trainer)

    def _judge(self, trainer: pl.Trainer) -> None:
        self.pruned = self.trial.should_prune()
        trainer.should_stop = trainer.should_stop or self.pruned


def train(trial: Trial, config: DictConfig, folder: Path, objectives: Sequence[str]) -> list[float]:
    """The trial's objectives, its training gone on with where it was cut; raises TrialPruned where it was ended early,
    and what training raises.
    """
    run = _run(folder, config)
    dataset = load_dataset(config)
    record_dataset(run, dataset)
    watch = Watch(trial)
    model = fit_model(config, dataset, run, callbacks=[watch] if len(objectives) == 1 else [])
    if watch.pruned:
        raise optuna.TrialPruned
    found = ranking_to_json(rank_part(model, dataset, config, "validation"))
    about = {"split_hash": dataset.split_hash, "n_users": dataset.n_users, "n_items": dataset.n_items}
    run.write_json("validation", {"validation": found, "baselines": {}, **about})
    return [_cost(name, run, model, dataset, config) if name in COSTS else _metric(name, found) for name in objectives]


def _run(folder: Path, config: DictConfig) -> Run:
    """The trial's folder as its worker left it, if that came to the end of an epoch."""
    if (folder / "last.ckpt").exists():
        return Run.open(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return Run.create(folder, config)


def _metric(name: str, found: Mapping[str, Any]) -> float:
    if name not in found:
        raise ConfigError(f"there is no objective '{name}'; there are {', '.join(found)} and {', '.join(COSTS)}")
    return float(found[name])


def _cost(name: str, run: Run, model: Model, dataset: Dataset, config: DictConfig) -> float:
    if name == "n_parameters":
        return float(sum(tensor.numel() for tensor in model.state_dict().values()))
    if name == "artefact_mb":
        about: dict[str, Any] = {"model": get_model_name(config), "licence": None, "metrics": {}}
        proto, _ = exported(model, dataset, "float16", False, 1, about)
        return proto.ByteSize() / 2**20
    if not (run.folder / "timing.json").exists():
        raise ConfigError("cpu_seconds are those of training, which a closed form does without; take another objective")
    return float(json.loads((run.folder / "timing.json").read_text())["cpu_s_train"])


@contextmanager
def quiet() -> Iterator[None]:
    """A trial says nothing but its line."""
    loggers = [logging.getLogger(name) for name in ("recsys.data", "recsys.training")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
