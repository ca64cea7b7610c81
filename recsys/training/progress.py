"""Progress of training: a bar on a terminal, and one line per epoch, also in files."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.callbacks.progress.progress_bar import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from typing_extensions import override

from recsys.training.callbacks import MONITOR

REFRESH_STEPS = 20
"""steps between readings of the loss, because each reading waits for the device"""


class TrainingProgress(ProgressBar):
    """Shows the epoch, loss, best validation metric, tokens per second and time left of the first process.

    Tokens are events without padding. The time left of the run is an upper bound, because training stops early when
    validation no longer improves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bar: Progress | None = None
        self.best, self.loss, self.tokens, self.durations = 0.0, float("nan"), 0, [0.0, 0.0]

    @override
    def disable(self) -> None:
        self.is_enabled = False

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.console = Console(stderr=True)
        if trainer.is_global_zero and self.console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[details]}")
            self.bar = Progress(*columns, console=self.console, refresh_per_second=4, transient=True)
            self.task = self.bar.add_task("", details="")
            self.bar.start()

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started, self.tokens, self.steps = time.perf_counter(), 0, int(trainer.num_training_batches)
        self.trained = 0.0
        self._show(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", 0, self.steps, "")

    @override
    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        _, outputs, batch, batch_idx = args[:4]
        self.tokens += batch.n_tokens
        if self.bar and (batch_idx % REFRESH_STEPS == 0 or batch_idx + 1 == self.steps):
            self.loss = float(outputs["loss"])
            spent, done = time.perf_counter() - self.started, batch_idx + 1
            left = spent / done * (self.steps - done)
            speed = f"{self.tokens / spent:,.0f} tokens/s"
            details = f"loss {self.loss:.4f}{self._format_best()}  {speed}  left {_format_duration(left)}"
            if trainer.current_epoch + 1 < (trainer.max_epochs or 0):
                details += f", at most {_format_duration(self._max_seconds_left(trainer, spent + left) + left)}"
            self._show(None, done, self.steps, details)

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # validation follows the last step of an epoch
        if not trainer.sanity_checking:
            self.trained = time.perf_counter() - self.started

    @override
    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        total = int(sum(trainer.num_val_batches))
        self._show(None, args[3] + 1, total, f"ranking for validation{self._format_best()}")

    @override
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics, duration = trainer.callback_metrics, time.perf_counter() - self.started
        self.durations = [self.durations[0] + duration, self.durations[1] + 1]
        validated = self._describe_validation(metrics)
        if trainer.is_global_zero:
            self.console.print(
                f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: loss {float(metrics['train/loss']):.4f}, "
                f"{validated}{self.tokens / max(self.trained or duration, 1e-9):,.0f} tokens/s, {duration:.1f} s",
                soft_wrap=True,
                highlight=False,
            )

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.bar:
            self.bar.stop()
        self.bar = None

    @override
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.on_train_end(trainer, pl_module)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def _describe_validation(self, metrics: dict[str, Any]) -> str:
        """The validation metric for the line of an epoch; empty if there was no validation."""
        if MONITOR not in metrics:
            return ""
        score = float(metrics[MONITOR])
        is_best, self.best = score > self.best, max(self.best, score)
        return f"{MONITOR} {score:.4f}{', the best so far' if is_best else ''}, "

    def _format_best(self) -> str:
        return f"  best {MONITOR.removeprefix('val/')} {self.best:.4f}" if self.best else ""

    def _max_seconds_left(self, trainer: pl.Trainer, epoch_s: float) -> float:
        """Upper bound in seconds for the epochs after this one, from the mean epoch so far and trainer.max_time."""
        mean = self.durations[0] / self.durations[1] if self.durations[1] else epoch_s
        timers = [callback.time_remaining() for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        allowed = [seconds for seconds in timers if seconds is not None]
        return min([mean * ((trainer.max_epochs or 0) - trainer.current_epoch - 1), *allowed])

    def _show(self, description: str | None, done: int, total: int, details: str) -> None:
        if self.bar:
            self.bar.update(self.task, description=description, completed=done, total=total, details=details)


def _format_duration(seconds: float) -> str:
    minutes, full_seconds = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}:{minutes % 60:02}:{full_seconds:02}"
    return f"{minutes}:{full_seconds:02}"
