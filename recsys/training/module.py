"""The one LightningModule: any trainable model under any loss."""

from collections.abc import Callable

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recsys.data.batches import Batch
from recsys.data.dataset import Dataset
from recsys.evaluation import hide_seen, target_ranks
from recsys.losses.question import Question
from recsys.metrics.ranking import NDCG, HitRate
from recsys.models.base import Trainable


class Training(pl.LightningModule):
    """Steps a model down a loss; validates by ranking the full catalogue."""

    def __init__(
        self,
        model: Trainable,
        loss: nn.Module,
        optimizer: Callable[..., Optimizer],
        dataset: Dataset,
        seed: int,
    ) -> None:
        super().__init__()
        self.model, self.loss, self.make_optimizer, self.seed = model, loss, optimizer, seed
        self.n_items = dataset.n_items
        self.register_buffer("item_counts", torch.from_numpy(np.array(dataset.item_counts)), persistent=False)
        self.item_counts: Tensor
        self.ndcg, self.hr = NDCG(10), HitRate(10)

    def configure_optimizers(self) -> Optimizer:
        """The configured optimizer over all parameters."""
        return self.make_optimizer(params=self.model.parameters())

    def on_train_epoch_start(self) -> None:
        """Start every random stream anew, so that a resumed epoch draws what the cut one drew."""
        self.trainer.train_dataloader.dataset.set_epoch(self.current_epoch)  # type: ignore[union-attr]
        torch.manual_seed(hash_seed(self.seed, self.current_epoch, self.global_rank))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The mean loss of a batch's targets."""
        loss = self.loss(self.question(batch)) / batch.mass
        self.log(
            "train/loss",
            loss.detach(),
            on_step=False,
            on_epoch=True,
            prog_bar=True,
            batch_size=len(batch.target),
        )
        return loss

    def question(self, batch: Batch) -> Question:
        """What a loss takes: the real queries of a batch and their targets."""
        vectors = self.model.encode(batch.user, batch.history, batch.events, batch.request, batch.ask)
        extra = self.model.slot_scores(vectors, batch.history, batch.events, batch.request, batch.ask)
        slots = None
        if extra is not None:
            slots = batch.history[batch.query // batch.ask.shape[1]], extra.flatten(0, 1)[batch.query]
        queries = vectors.flatten(0, 1)[batch.query]
        return Question(self.model, queries, batch.target, batch.target_query, self.item_counts, batch.weight, slots)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Rank the batch's targets."""
        scores = score(self.model, batch)
        hide_seen(scores, batch)
        ranks = target_ranks(scores, batch, self.n_items)
        self.ndcg.update(ranks)
        self.hr.update(ranks)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics that stop training and choose the checkpoint."""
        for metric in (self.ndcg, self.hr):
            self.log(f"val/{metric.name}", metric.compute(), prog_bar=True)
            metric.reset()


def score(model: nn.Module, batch: Batch) -> Tensor:
    """Scores (B, I) of a batch on the model's own device."""
    return model(batch.user, batch.history, batch.events, batch.request)


def hash_seed(*numbers: int) -> int:
    """One seed of several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
