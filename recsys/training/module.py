"""The one LightningModule: any trainable model under any loss."""

import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recsys.data.batches.batch import Batch
from recsys.data.dataset import Dataset
from recsys.evaluation.evaluate import Scorer, hide_seen, target_ranks
from recsys.evaluation.metrics.ranking import NDCG, HitRate
from recsys.losses.inputs import Question
from recsys.models.base import Trainable

HARMLESS = (
    "Checkpoint directory .* exists",  # the run folder holds config.yaml by then
    "Your `IterableDataset` has `__len__`",  # ours is exact: it knows its rank
    "The number of training batches",
    "The '.*_dataloader' does not have many workers",  # workers made it slower
    "It is recommended to use `self.log",  # torchmetrics has asked the other ranks by then
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


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

    def setup(self, stage: str) -> None:  # noqa: ARG002
        """Other processes of a run start with warnings of their own."""
        if self.trainer.world_size > 1:
            quieten()

    def on_train_epoch_start(self) -> None:
        """Start every random stream anew, so that a resumed epoch draws what the cut one drew."""
        self.trainer.train_dataloader.dataset.set_epoch(self.current_epoch)  # type: ignore[union-attr]
        torch.manual_seed(hash_seed(self.seed, self.current_epoch, self.global_rank))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The batch's part of the mean over all targets of the step, on every rank and in every accumulated batch;
        scaled up by what Lightning divides by.
        """
        loss = self.loss(self.question(batch)) * self._scale(batch.mass)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, prog_bar=True, sync_dist=True,
                 batch_size=1)  # parts count alike: their mean is the step's loss  # fmt: skip
        return loss

    def _scale(self, own: float) -> float | Tensor:
        """Parts of the step over the weight of all its targets; over several ranks it stays on the device."""
        parts = self.trainer.world_size * self.trainer.accumulate_grad_batches
        if self.trainer.world_size == 1:
            return parts / max(own, 1e-9)  # a window may hold no target
        total = torch.full((), own, dtype=torch.float64, device=self.device)
        total = self.trainer.strategy.reduce(total, reduce_op="sum")
        return (parts / total.clamp(min=1e-9)).float()

    def question(self, batch: Batch) -> Question:
        """What a loss takes: the real queries of a batch and their targets."""
        vectors = self.model.encode(batch.user, batch.history, batch.events, batch.request, batch.ask)
        extra = self.model.slot_scores(vectors, batch.history, batch.events, batch.request, batch.ask)
        slots = None
        if extra is not None:
            slots = batch.history[batch.query // batch.ask.shape[1]], extra.flatten(0, 1)[batch.query]
        queries = vectors.flatten(0, 1)[batch.query]
        targets = batch.target, batch.target_query
        return Question(self.model, queries, *targets, self.item_counts, batch.weight, slots, batch.starts)

    def on_validation_epoch_start(self) -> None:
        """Compute the vectors of the items."""
        self.scorer = scorer(self.model)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Rank the batch's targets."""
        scores = self.scorer(batch)
        hide_seen(scores, batch)
        ranks = target_ranks(scores, batch, self.n_items)
        self.ndcg.update(ranks)
        self.hr.update(ranks)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics that stop training and choose the checkpoint."""
        del self.scorer
        for metric in (self.ndcg, self.hr):
            self.log(f"val/{metric.name}", metric.compute(), prog_bar=True)
            metric.reset()


def quieten() -> None:
    """Ignore what Lightning warns of without need."""
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)


def score(model: nn.Module, batch: Batch) -> Tensor:
    """Scores (B, I) of a batch on the model's own device, never in bfloat16, whose ties would cost ranks."""
    return scorer(model)(batch)


def scorer(model: nn.Module) -> Scorer:
    """A function that scores batches as `score` does while the model stays as it is: the vectors of its items are
    computed once.
    """
    of_batch: Callable[..., Tensor] = model
    if isinstance(model, Trainable):
        with torch.no_grad(), torch.autocast(_device(model), enabled=False):
            of_batch = partial(model.scores, model.item_vectors())

    def scored(batch: Batch) -> Tensor:
        with torch.autocast(batch.history.device.type, enabled=False):
            return of_batch(batch.user, batch.history, batch.events, batch.request)

    return scored


def _device(model: nn.Module) -> str:
    return next(model.parameters()).device.type


def hash_seed(*numbers: int) -> int:
    """One seed of several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
