"""What training costs until a model is good enough, in the unit of scripts/peers/replay_until.py."""

import json
import os
import shlex
import time
from typing import Any

import pytorch_lightning as pl
from typing_extensions import override

from recsys.apps.benchmark.training import compose_benchmark_training, train_with_callback
from recsys.data.load import load_dataset
from recsys.models.build import make_trainable_model

METRIC = "val/ndcg@10"


class StopAtMetric(pl.Callback):
    """Stops training once the validation metric reaches `value`; `spent` are the CPU-seconds of training alone."""

    def __init__(self, value: float) -> None:
        self.value, self.spent = value, 0.0
        self.history: list[float] = []

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.process_time()

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.spent += time.process_time() - self.start

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.history.append(float(trainer.callback_metrics[METRIC]))
        trainer.should_stop = self.history[-1] >= self.value
        self.start = time.process_time()


def measure(words: str, value: float, threads: int) -> list[str]:
    """Returns one line of JSON about `recsys train WORDS`: epochs and CPU-seconds of training (without validation)
    until validation NDCG@10 reaches `value`, and its value after each epoch.

    Raises ConfigError for a model that is not trained by steps.
    """
    config = compose_benchmark_training(*shlex.split(words), f"threads={threads}")
    dataset = load_dataset(config)
    callback = StopAtMetric(value)
    train_with_callback(make_trainable_model(config, dataset), dataset, config, callback)
    figures: dict[str, Any] = {
        "name": "recsys",
        "threads": threads,
        "epochs": len(callback.history),
        "train_cpu_s": round(callback.spent, 1),
        "reached": callback.history[-1] >= value,
        "ndcg@10": [round(ndcg, 4) for ndcg in callback.history],
        "load": os.getloadavg()[0],
    }
    return [json.dumps(figures)]
