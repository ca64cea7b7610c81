"""The batches of one training process, built once the process knows its rank."""

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader, IterableDataset
from typing_extensions import override

from recsys.config.build import build
from recsys.data.batches.batch import Batch
from recsys.data.batches.loader import Shard
from recsys.data.dataset import Dataset
from recsys.evaluation.scoring import make_ranking_batches


class BatchDataModule(pl.LightningDataModule):
    """Training batches as configured, and batches that rank the validation part."""

    def __init__(self, config: DictConfig, dataset: Dataset, seed: int) -> None:
        super().__init__()
        self.config, self.dataset, self.seed = config, dataset, seed

    @property
    def shard(self) -> Shard:
        """The shard of the batches that this process reads."""
        assert self.trainer is not None
        return Shard(self.trainer.global_rank, self.trainer.world_size, self.trainer.accumulate_grad_batches)

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        return _make_loader(build(self.config, dataset=self.dataset, seed=self.seed, shard=self.shard))

    @override
    def val_dataloader(self) -> DataLoader[Batch]:
        return _make_loader(make_ranking_batches(self.dataset, "validation", self.config.max_history, self.shard))


def _make_loader(batches: IterableDataset[Batch]) -> DataLoader[Batch]:
    """A loader that passes batches on as they are.

    It has its own generator: otherwise it would draw from the model's random stream, once more in a resumed run.
    """
    return DataLoader(batches, batch_size=None, generator=torch.Generator())
