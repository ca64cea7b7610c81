"""Callbacks of training: checkpoints, best weights, early stopping, timing."""

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from typing_extensions import override

from recsys.data.batches.batch import Batch
from recsys.run import Run, peak_rss_mb

MONITOR = "val/ndcg@10"


def make_last_checkpoint(run: Run) -> ModelCheckpoint:
    """A callback that writes last.ckpt after each complete epoch."""
    return ModelCheckpoint(
        run.folder,
        filename="last",
        save_top_k=1,
        monitor=None,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )


class Patience(EarlyStopping):
    """Stops when validation has not improved for some epochs; a run that has stopped does not train on when resumed."""

    def __init__(self, epochs: int) -> None:
        super().__init__(MONITOR, mode="max", patience=epochs, check_on_train_epoch_end=True)

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


class BestWeights(Callback):
    """Writes `name`.pt whenever validation improves; the best score is kept in the checkpoint for resumed runs."""

    def __init__(self, run: Run, name: str = "model") -> None:
        self.run, self.name, self.best, self.epoch = run, name, -1.0, -1

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics[MONITOR])
        if score > self.best and trainer.is_global_zero:
            self.best, self.epoch = score, trainer.current_epoch
            self.run.save_weights(pl_module.model.state_dict(), self.name)  # type: ignore[union-attr]

    @override
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.run.write_json("training", self.state_dict())

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "epoch": self.epoch}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.epoch = state_dict["best"], state_dict["epoch"]


class Stopwatch(Callback):
    """Measures CPU time, wall time and tokens of the training epochs without validation, in the first process."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.cpu_s, self.wall_s, self.tokens, self.epochs = 0.0, 0.0, 0, 0
        self.first_step: float | None = None

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self.tokens += batch.n_tokens
        if self.first_step is None:
            self.first_step = time.process_time()

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # validation follows the last step of an epoch
        if not trainer.sanity_checking:
            self.cpu_s += time.process_time() - self._cpu
            self.wall_s += time.perf_counter() - self._wall
            self.epochs += 1

    @override
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.run.write_json("timing", self.summary())

    @override
    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("cpu_s", "wall_s", "tokens", "epochs")}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)

    def summary(self) -> dict[str, float | int]:
        """The content of timing.json; a resumed run includes its earlier complete epochs."""
        return {
            "tokens_per_s": round(self.tokens / max(self.wall_s, 1e-9)),
            "tokens_per_cpu_s": round(self.tokens / max(self.cpu_s, 1e-9)),
            "cpu_s_train": round(self.cpu_s, 2),
            "cpu_s_first_step": round(self.first_step or 0.0, 2),
            "epochs": self.epochs,
            "threads": torch.get_num_threads(),
            "peak_rss_mb": peak_rss_mb(),
        }
