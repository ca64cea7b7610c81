"""The batches of one training process, made once it knows its rank."""

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader, IterableDataset

from recsys.config.build import build
from recsys.data.batches.batch import Batch
from recsys.data.batches.loader import Shard
from recsys.data.dataset import Dataset
from recsys.evaluation.scoring import make_ranking_batches


class BatchDataModule(pl.LightningDataModule):
    """Training batches as configured, and the validation part."""

    def __init__(self, config: DictConfig, dataset: Dataset, seed: int) -> None:
        super().__init__()
        self.config, self.dataset, self.seed = config, dataset, seed

    @property
    def shard(self) -> Shard:
        """What of the batches this process gets."""
        assert self.trainer is not None
        return Shard(self.trainer.global_rank, self.trainer.world_size, self.trainer.accumulate_grad_batches)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches to learn from."""
        return _loader(build(self.config, dataset=self.dataset, seed=self.seed, shard=self.shard))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Users to rank for."""
        return _loader(make_ranking_batches(self.dataset, "validation", self.config.max_history, self.shard))


def _loader(batches: IterableDataset[Batch]) -> DataLoader[Batch]:
    """Batches as they come; a generator of its own keeps it from drawing on the model's random stream, which
    it would do once more in a resumed run.
    """
    return DataLoader(batches, batch_size=None, generator=torch.Generator())
