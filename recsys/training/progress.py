"""What training says while it runs: a bar on a terminal, and a line an epoch, which is all that a file gets."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.callbacks.progress.progress_bar import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from recsys.training.callbacks import MONITOR

EVERY = 20
"""steps between looks at the loss, each of which waits for the device"""


class TrainingProgress(ProgressBar):
    """Epoch, loss, the best validation so far, events learned from a second, and the time left; of the first process.

    Tokens are real events, padding apart; the time left of the run is what it may take at most, since it stops when
    validation no longer improves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bar: Progress | None = None
        self.best, self.loss, self.tokens, self.durations = 0.0, float("nan"), 0, [0.0, 0.0]

    def disable(self) -> None:
        """Of the other processes, by Lightning."""
        self.is_enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Open the bar, where there is a terminal."""
        self.console = Console(stderr=True)
        if trainer.is_global_zero and self.console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[said]}")
            self.bar = Progress(*columns, console=self.console, refresh_per_second=4, transient=True)
            self.task = self.bar.add_task("", said="")
            self.bar.start()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Start the epoch's clock."""
        self.started, self.tokens, self.steps = time.perf_counter(), 0, int(trainer.num_training_batches)
        self.trained = 0.0
        self._show(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", 0, self.steps, "")

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Count, and now and then look."""
        _, outputs, batch, batch_idx = args[:4]
        self.tokens += batch.n_tokens
        if self.bar and (batch_idx % EVERY == 0 or batch_idx + 1 == self.steps):
            self.loss = float(outputs["loss"])
            spent, done = time.perf_counter() - self.started, batch_idx + 1
            left = spent / done * (self.steps - done)
            said = f"loss {self.loss:.4f}{self._best()}  {self.tokens / spent:,.0f} tokens/s  left {_clock(left)}"
            if trainer.current_epoch + 1 < (trainer.max_epochs or 0):
                said += f", at most {_clock(self._at_most(trainer, spent + left) + left)}"
            self._show(None, done, self.steps, said)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Validation follows the last step of an epoch."""
        if not trainer.sanity_checking:
            self.trained = time.perf_counter() - self.started

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Show how far ranking is."""
        total = int(sum(trainer.num_val_batches))
        self._show(None, args[3] + 1, total, f"ranking for validation{self._best()}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """The epoch's line."""
        found, duration = trainer.callback_metrics, time.perf_counter() - self.started
        self.durations = [self.durations[0] + duration, self.durations[1] + 1]
        validated = self._validated(found)
        if trainer.is_global_zero:
            self.console.print(
                f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}: loss {float(found['train/loss']):.4f}, "
                f"{validated}{self.tokens / max(self.trained or duration, 1e-9):,.0f} tokens/s, {duration:.1f} s",
                soft_wrap=True,
                highlight=False,
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Close the bar."""
        if self.bar:
            self.bar.stop()
        self.bar = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Close the bar, whatever happened."""
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The best score, which a resumed run goes on with."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best = state_dict["best"]

    def _validated(self, found: dict[str, Any]) -> str:
        """What the epoch's line says of validation, if there was one."""
        if MONITOR not in found:
            return ""
        score = float(found[MONITOR])
        best, self.best = score > self.best, max(self.best, score)
        return f"{MONITOR} {score:.4f}{', the best so far' if best else ''}, "

    def _best(self) -> str:
        return f"  best {MONITOR.removeprefix('val/')} {self.best:.4f}" if self.best else ""

    def _at_most(self, trainer: pl.Trainer, epoch_s: float) -> float:
        """Seconds of the epochs after this one, each as long as those so far, or what trainer.max_time leaves."""
        mean = self.durations[0] / self.durations[1] if self.durations[1] else epoch_s
        timers = [callback.time_remaining() for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        allowed = [seconds for seconds in timers if seconds is not None]
        return min([mean * ((trainer.max_epochs or 0) - trainer.current_epoch - 1), *allowed])

    def _show(self, description: str | None, done: int, total: int, said: str) -> None:
        if self.bar:
            self.bar.update(self.task, description=description, completed=done, total=total, said=said)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
