"""The LightningModule that trains any trainable model with any loss."""

import warnings
from collections.abc import Callable

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from recsys.data.batches.batch import Batch
from recsys.data.dataset import Dataset
from recsys.evaluation.metrics.ranking import NDCG, HitRate
from recsys.evaluation.scoring import hide_seen, make_scorer, rank_targets
from recsys.losses.inputs import LossInputs
from recsys.models.base import Trainable

HARMLESS = (
    "Checkpoint directory .* exists",  # the run folder already holds config.yaml
    "Your `IterableDataset` has `__len__`",  # the length is exact: the loader knows its rank
    "The number of training batches",
    "The '.*_dataloader' does not have many workers",  # with workers it was slower
    "It is recommended to use `self.log",  # torchmetrics has already gathered the other ranks
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


class TrainingModule(pl.LightningModule):
    """Trains a model with a loss; validates by ranking the full catalogue."""

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

    @override
    def configure_optimizers(self) -> Optimizer:
        return self.make_optimizer(params=self.model.parameters())

    @override
    def setup(self, stage: str) -> None:
        # each process of a run has its own warning filters
        if self.trainer.world_size > 1:
            silence_warnings()

    @override
    def on_train_epoch_start(self) -> None:
        # seed every random stream by the epoch, so that a resumed epoch draws the same numbers
        self.trainer.train_dataloader.dataset.set_epoch(self.current_epoch)  # type: ignore[union-attr]
        torch.manual_seed(combine_seeds(self.seed, self.current_epoch, self.global_rank))

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # a step's loss is the mean over the targets of all ranks and accumulated batches; Lightning divides by their
        # number, so each batch's contribution is scaled up by it
        loss = self.loss(self.make_loss_inputs(batch)) * self._scale(batch.total_weight)
        # batch_size=1 gives batches equal weight: the mean of their contributions is the loss of the step
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, prog_bar=True, sync_dist=True, batch_size=1)
        return loss

    def _scale(self, total_weight: float) -> float | Tensor:
        """The batches of a step / the total weight of its targets; a tensor on the device with several ranks."""
        n_batches = self.trainer.world_size * self.trainer.accumulate_grad_batches
        if self.trainer.world_size == 1:
            return n_batches / max(total_weight, 1e-9)  # a window may contain no target
        total = torch.full((), total_weight, dtype=torch.float64, device=self.device)
        total = self.trainer.strategy.reduce(total, reduce_op="sum")
        return (n_batches / total.clamp(min=1e-9)).float()

    def make_loss_inputs(self, batch: Batch) -> LossInputs:
        """The inputs of a loss: the real queries of a batch and their targets."""
        inputs = batch.inputs
        # (B Q D) a vector for each query position, (B Q L) the bonus of each history slot
        vectors = self.model.encode(inputs)
        bonus = self.model.slot_scores(vectors, inputs)
        # (M D) the real queries, (M L) the items of their slots and the bonus of each
        slots = None
        if bonus is not None:
            user = batch.queries // inputs.query_positions.shape[1]
            slots = batch.history[user], bonus.flatten(0, 1)[batch.queries]
        return LossInputs(
            self.model,
            vectors.flatten(0, 1)[batch.queries],
            batch.targets,
            batch.target_query,
            self.item_counts,
            batch.weights,
            slots,
            batch.target_starts,
        )

    @override
    def on_validation_epoch_start(self) -> None:
        self.score = make_scorer(self.model)  # computes the vectors of the items once

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        scores = self.score(batch)
        hide_seen(scores, batch)
        ranks = rank_targets(scores, batch, self.n_items)
        self.ndcg.update(ranks)
        self.hr.update(ranks)

    @override
    def on_validation_epoch_end(self) -> None:
        del self.score
        for metric in (self.ndcg, self.hr):
            self.log(f"val/{metric.name}", metric.compute(), prog_bar=True)
            metric.reset()


def silence_warnings() -> None:
    """Ignore those warnings of Lightning that do not apply here."""
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)


def combine_seeds(*numbers: int) -> int:
    """One seed of several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
