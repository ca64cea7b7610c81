"""Weights averaged over the steps of a training, which rank better than those of its last step."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, WeightAveraging
from torch import Tensor

from recsys.errors import ConfigError

USUAL = 0.997


def make_ema_callbacks(decay: float | None, sparse: bool) -> list[Callback]:
    """The callback that averages, none for a `decay` of 0. None is the usual decay, but 0 where gradients are `sparse`:
    an average reads whole tables in every step.
    """
    decay = (0 if sparse else USUAL) if decay is None else decay
    return [WeightEMA(decay)] if decay else []


class WeightEMA(WeightAveraging):
    """Validates, and ends with, an exponential moving average of the weights: each step replaces a share 1 − `decay` of
    it, and a larger one in the first steps, which lead away from the random start. Raises ConfigError for a decay that
    is none.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"ema={decay} must lie between 0 and 1; ema=0 trains without an average")
        super().__init__(use_buffers=False, multi_avg_fn=self._follow)
        self.decay, self.step = decay, 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Follow the step that was made."""
        self.step = trainer.global_step
        super().on_train_batch_end(trainer, pl_module, *args)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in place: the best weights are not saved yet."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on from the weights of the last step."""
        super().on_validation_epoch_end(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average, also where a resumed training had nothing left to do."""
        self.on_train_end(trainer, pl_module)

    @torch.no_grad()
    def _follow(self, average: list[Tensor], current: list[Tensor], _: Tensor | int) -> None:
        share = max(1 - self.decay, 9 / (self.step + 10))
        torch._foreach_lerp_(average, current, share)
