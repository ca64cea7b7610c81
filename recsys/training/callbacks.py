"""What happens around the epochs: checkpoints, best weights, the stop, the clock."""

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint

from recsys.run import Run, peak_rss_mb

MONITOR = "val/ndcg@10"


def last_checkpoint(run: Run) -> ModelCheckpoint:
    """Keeps last.ckpt of the newest whole epoch."""
    return ModelCheckpoint(
        run.folder,
        filename="last",
        save_top_k=1,
        monitor=None,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )


class Patience(EarlyStopping):
    """Stops when validation has not improved for some epochs, also when resumed from where it had stopped."""

    def __init__(self, epochs: int) -> None:
        super().__init__(MONITOR, mode="max", patience=epochs, check_on_train_epoch_end=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Do not train on after a stop."""
        trainer.should_stop = self.wait_count >= self.patience


class BestWeights(Callback):
    """Writes `name`.pt whenever validation improves; what it was is in the checkpoint, so a resumed run knows."""

    def __init__(self, run: Run, name: str = "model") -> None:
        self.run, self.name, self.best, self.epoch = run, name, -1.0, -1

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare and save the weights that were validated."""
        if trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics[MONITOR])
        if score > self.best and trainer.is_global_zero:
            self.best, self.epoch = score, trainer.current_epoch
            self.run.save_weights(pl_module.model.state_dict(), self.name)  # type: ignore[union-attr]

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Leave the best score and its epoch in training.json."""
        if trainer.is_global_zero:
            self.run.write_json("training", self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The best score and its epoch."""
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best, self.epoch = state_dict["best"], state_dict["epoch"]


class Stopwatch(Callback):
    """CPU-seconds and tokens of the training epochs, validation apart; of the first process where there are several."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.cpu_s, self.wall_s, self.tokens, self.epochs = 0.0, 0.0, 0, 0
        self.first_step: float | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start both clocks."""
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:  # noqa: ARG002
        """Note when the first step was done, and how many events were learned from."""
        self.tokens += args[1].n_tokens
        if self.first_step is None:
            self.first_step = time.process_time()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Stop both clocks: validation follows the last step of an epoch."""
        if not trainer.sanity_checking:
            self.cpu_s += time.process_time() - self._cpu
            self.wall_s += time.perf_counter() - self._wall
            self.epochs += 1

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Leave timing.json."""
        if trainer.is_global_zero:
            self.run.write_json("timing", self.summary())

    def state_dict(self) -> dict[str, Any]:
        """What was counted, for a resumed run to count on."""
        return {name: getattr(self, name) for name in ("cpu_s", "wall_s", "tokens", "epochs")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on."""
        vars(self).update(state_dict)

    def summary(self) -> dict[str, float | int]:
        """What timing.json holds; of a resumed run, that of all its whole epochs."""
        return {
            "tokens_per_s": round(self.tokens / max(self.wall_s, 1e-9)),
            "tokens_per_cpu_s": round(self.tokens / max(self.cpu_s, 1e-9)),
            "cpu_s_train": round(self.cpu_s, 2),
            "cpu_s_first_step": round(self.first_step or 0.0, 2),
            "epochs": self.epochs,
            "threads": torch.get_num_threads(),
            "peak_rss_mb": peak_rss_mb(),
        }
