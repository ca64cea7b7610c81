"""One trial: a run folder, trained and ranked on validation data only."""

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
from typing_extensions import override

from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.data.run_record import record_dataset
from recsys.errors import ConfigError
from recsys.evaluation.compare import rank_part
from recsys.evaluation.tables import ranking_to_json
from recsys.export.export import build_model_file
from recsys.models.base import Model
from recsys.models.build import get_model_name
from recsys.run import Run
from recsys.training.callbacks import MONITOR
from recsys.training.fit import fit_model

COSTS = ("cpu_seconds", "n_parameters", "artefact_mb")
"""objectives to minimise; all others are metrics to maximise"""


class PruningCallback(Callback):
    """Reports each epoch to the study, and stops the training if the pruner decides so."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.pruned = trial, False

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._prune(trainer)  # a resumed trial may have been due for pruning after its last epoch

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        with warnings.catch_warnings():
            # a resumed trial may have reported the epoch already
            warnings.filterwarnings("ignore", "The reported value is ignored because this `step`")
            self.trial.report(float(trainer.callback_metrics[MONITOR]), trainer.current_epoch)
        self._prune(trainer)

    def _prune(self, trainer: pl.Trainer) -> None:
        self.pruned = self.trial.should_prune()
        trainer.should_stop = trainer.should_stop or self.pruned


def train_trial(trial: Trial, config: DictConfig, folder: Path, objectives: Sequence[str]) -> list[float]:
    """Returns the trial's objectives; training resumes where it was interrupted.

    Raises TrialPruned if the trial was pruned, and what training raises.
    """
    run = _open_trial_run(folder, config)
    dataset = load_dataset(config)
    record_dataset(run, dataset)
    pruning = PruningCallback(trial)
    model = fit_model(config, dataset, run, callbacks=[pruning] if len(objectives) == 1 else [])
    if pruning.pruned:
        raise optuna.TrialPruned
    metrics = ranking_to_json(rank_part(model, dataset, config, "validation"))
    about = {"split_hash": dataset.split_hash, "n_users": dataset.n_users, "n_items": dataset.n_items}
    run.write_json("validation", {"validation": metrics, "baselines": {}, **about})
    return [
        _measure_cost(name, run, model, dataset, config) if name in COSTS else _get_metric(name, metrics)
        for name in objectives
    ]


def _open_trial_run(folder: Path, config: DictConfig) -> Run:
    """Returns the trial's run as its last worker left it if an epoch was finished, else an empty one."""
    if (folder / "last.ckpt").exists():
        return Run.open(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return Run.create(folder, config)


def _get_metric(name: str, metrics: Mapping[str, Any]) -> float:
    if name not in metrics:
        raise ConfigError(f"there is no objective '{name}'; there are {', '.join(metrics)} and {', '.join(COSTS)}")
    return float(metrics[name])


def _measure_cost(name: str, run: Run, model: Model, dataset: Dataset, config: DictConfig) -> float:
    if name == "n_parameters":
        return float(sum(tensor.numel() for tensor in model.state_dict().values()))
    if name == "artefact_mb":
        about: dict[str, Any] = {"model": get_model_name(config), "licence": None, "metrics": {}}
        proto, _ = build_model_file(model, dataset, "float16", False, 1, about)
        return proto.ByteSize() / 2**20
    if not (run.folder / "timing.json").exists():
        raise ConfigError(
            "cpu_seconds are those of training, which a closed form does not have; choose another objective"
        )
    return float(json.loads((run.folder / "timing.json").read_text())["cpu_s_train"])


@contextmanager
def silence_logs() -> Iterator[None]:
    """A context in which training and data log warnings only, so that a trial prints one line."""
    loggers = [logging.getLogger(name) for name in ("recsys.data", "recsys.training")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
