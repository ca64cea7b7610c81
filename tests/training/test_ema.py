"""The average of the weights, step by step."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from recsys.errors import ConfigError
from recsys.training.ema import WeightEMA, make_ema_callbacks


class Ramp(pl.LightningModule):
    """One weight, which each step raises by one from 0; notes what is validated."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.validated = []

    def training_step(self, batch, _):
        return -self.weight.sum()

    def validation_step(self, batch, _):
        self.validated.append(self.weight.item())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def trained(decay, n_epochs, tmp_path):
    batches, module = DataLoader(torch.zeros(3, 1)), Ramp()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=n_epochs,
        callbacks=[WeightEMA(decay)],
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        **quiet,
    )
    trainer.fit(module, batches, batches)
    return module


def by_hand(decay, n_steps):
    average = 1.0
    for step in range(2, n_steps + 1):
        kept = min(decay, (step + 1) / (step + 10))
        average = kept * average + (1 - kept) * step
    return average


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated")
@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_the_average_is_validated_and_kept_while_training_goes_on_from_the_last_step(tmp_path):
    for decay in (0.3, 0.9):
        module = trained(decay, 4, tmp_path)
        expected = [by_hand(decay, 3 * epochs) for epochs in (1, 2, 3, 4)]
        assert module.validated[::3] == pytest.approx(expected)
        assert module.weight.item() == pytest.approx(expected[-1])


def test_a_decay_that_is_none():
    with pytest.raises(ConfigError, match=r"ema=1\.5 is invalid: expected a number between 0 and 1"):
        WeightEMA(1.5)


@pytest.mark.parametrize(
    ("decay", "sparse", "expected"), [(None, False, [0.997]), (None, True, []), (0, False, []), (0.9, True, [0.9])]
)
def test_weights_are_averaged_unless_told_otherwise_or_where_tables_are_large(decay, sparse, expected):
    assert [callback.decay for callback in make_ema_callbacks(decay, sparse)] == expected


def test_checkpoints_of_0_1_still_name_the_state_of_the_average():
    assert WeightEMA(0.9).state_key == "Averaged"
