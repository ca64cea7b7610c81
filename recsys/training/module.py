"""The one LightningModule: any trainable model under any loss."""

import warnings
from collections.abc import Callable

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from recsys.data.batches.batch import Batch
from recsys.data.dataset import Dataset
from recsys.evaluation.metrics.ranking import NDCG, HitRate
from recsys.evaluation.scoring import hide_seen, make_scorer, rank_targets
from recsys.losses.inputs import LossInputs
from recsys.models.base import Trainable

HARMLESS = (
    "Checkpoint directory .* exists",  # the run folder holds config.yaml by then
    "Your `IterableDataset` has `__len__`",  # ours is exact: it knows its rank
    "The number of training batches",
    "The '.*_dataloader' does not have many workers",  # workers made it slower
    "It is recommended to use `self.log",  # torchmetrics has asked the other ranks by then
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


class TrainingModule(pl.LightningModule):
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
            silence_warnings()

    def on_train_epoch_start(self) -> None:
        """Start every random stream anew, so that a resumed epoch draws what the cut one drew."""
        self.trainer.train_dataloader.dataset.set_epoch(self.current_epoch)  # type: ignore[union-attr]
        torch.manual_seed(combine_seeds(self.seed, self.current_epoch, self.global_rank))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The batch's part of the mean over all targets of the step, on every rank and in every accumulated batch;
        scaled up by what Lightning divides by.
        """
        loss = self.loss(self.make_loss_inputs(batch)) * self._scale(batch.total_weight)
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True, prog_bar=True, sync_dist=True,
                 batch_size=1)  # parts count alike: their mean is the step's loss  # fmt: skip
        return loss

    def _scale(self, total_weight: float) -> float | Tensor:
        """Batches of the step over the weight of all its targets; over several ranks it stays on the device."""
        n_batches = self.trainer.world_size * self.trainer.accumulate_grad_batches
        if self.trainer.world_size == 1:
            return n_batches / max(total_weight, 1e-9)  # a window may hold no target
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

    def on_validation_epoch_start(self) -> None:
        """Compute the vectors of the items."""
        self.score = make_scorer(self.model)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Rank the batch's targets."""
        scores = self.score(batch)
        hide_seen(scores, batch)
        ranks = rank_targets(scores, batch, self.n_items)
        self.ndcg.update(ranks)
        self.hr.update(ranks)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics that stop training and choose the checkpoint."""
        del self.score
        for metric in (self.ndcg, self.hr):
            self.log(f"val/{metric.name}", metric.compute(), prog_bar=True)
            metric.reset()


def silence_warnings() -> None:
    """Ignore what Lightning warns of without need."""
    for message in HARMLESS:
        warnings.filterwarnings("ignore", message)


def combine_seeds(*numbers: int) -> int:
    """One seed of several numbers, the same on every machine."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
