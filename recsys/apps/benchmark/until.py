"""What training costs until a model is good enough, in the unit of scripts/peers/replay_until.py."""

import json
import os
import shlex
import time
from typing import Any

import pytorch_lightning as pl

from recsys.apps.benchmark.training import fitted, trainable, trained_as
from recsys.data.load import load_dataset

METRIC = "val/ndcg@10"


class Enough(pl.Callback):
    """Stops training once validation says `value`; `spent` are the CPU-seconds of training alone."""

    def __init__(self, value: float) -> None:
        self.value, self.spent = value, 0.0
        self.found: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start the clock."""
        self.start = time.process_time()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Stop it."""
        self.spent += time.process_time() - self.start

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Look at what was reached."""
        self.found.append(float(trainer.callback_metrics[METRIC]))
        trainer.should_stop = self.found[-1] >= self.value
        self.start = time.process_time()


def measure(words: str, value: float, threads: int) -> list[str]:
    """One line of JSON for `recsys train WORDS`: epochs and CPU-seconds of training, validation not counted, until
    validation's NDCG@10 reaches `value`, and what it was after each epoch.

    Raises ConfigError for a model that is not trained by steps.
    """
    config = trained_as(*shlex.split(words), f"threads={threads}")
    dataset = load_dataset(config)
    enough = Enough(value)
    fitted(trainable(config, dataset), dataset, config, enough)
    found: dict[str, Any] = {
        "name": "recsys",
        "threads": threads,
        "epochs": len(enough.found),
        "train_cpu_s": round(enough.spent, 1),
        "reached": enough.found[-1] >= value,
        "ndcg@10": [round(each, 4) for each in enough.found],
        "load": os.getloadavg()[0],
    }
    return [json.dumps(found)]
