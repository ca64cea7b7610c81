"""Exponential moving average of the weights, which ranks better than the weights of the last step."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, WeightAveraging
from torch import Tensor
from typing_extensions import override

from recsys.errors import ConfigError

DEFAULT_DECAY = 0.997


def make_ema_callbacks(decay: float | None, sparse: bool) -> list[Callback]:
    """A list with the callback that averages, empty for a `decay` of 0. None means 0.997, but 0 where gradients are
    `sparse`, because averaging reads whole tables in every step.
    """
    decay = (0 if sparse else DEFAULT_DECAY) if decay is None else decay
    return [WeightEMA(decay)] if decay else []


class WeightEMA(WeightAveraging):
    """Validates and keeps an exponential moving average of the weights.

    Each step replaces a fraction 1 − `decay` of it, and more in the first steps, which leave the random start. Raises
    ConfigError unless 0 < `decay` < 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise ConfigError(
                f"ema={decay} is invalid: expected a number between 0 and 1; ema=0 trains without averaging"
            )
        super().__init__(use_buffers=False, multi_avg_fn=self._follow)
        self.decay, self.step = decay, 0

    @property
    @override
    def state_key(self) -> str:
        return "Averaged"  # the name of this class in checkpoints of 0.1

    @override
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self.step = trainer.global_step
        super().on_train_batch_end(trainer, pl_module, *args)

    @override
    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pass  # keep the average in place: the best weights have not been saved yet

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # training continues from the weights of the last step
        super().on_validation_epoch_end(trainer, pl_module)

    @override
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # keep the average, also if a resumed training had no epoch left
        self.on_train_end(trainer, pl_module)

    @torch.no_grad()
    def _follow(self, average: list[Tensor], current: list[Tensor], _: Tensor | int) -> None:
        fraction = max(1 - self.decay, 9 / (self.step + 10))
        torch._foreach_lerp_(average, current, fraction)
