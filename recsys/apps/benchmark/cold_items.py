"""How well items without a purchase are ranked by their content.

Some of the items are hidden (`split=cold_items`); the model learns from the others and ranks the hidden items alone for
every user who has any of them in the test. B users, I items with padding, the hidden ones last.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader

from recsys.config.build import build
from recsys.config.settings import config_dir
from recsys.data.batches.batch import Batch, to_tensors
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.data.new_items import DatasetWithNewItems
from recsys.evaluation.evaluate import Ranking, evaluate_scorer
from recsys.evaluation.scoring import Scorer, make_ranking_batches, score_batch
from recsys.models.base import Trainable
from recsys.models.build import make_model
from recsys.training.module import TrainingModule, silence_warnings

K = 10
CATEGORIES = "categories"
"""name of the model that sees categories only"""


def measure(
    settings: Sequence[str],
    categories: Sequence[str],
    text: Sequence[str],
    encoders: Sequence[str],
    hide: Sequence[int],
) -> list[str]:
    """Returns lines with NDCG@10 for each hidden share: of chance, of the hidden items' own popularity, of a model that
    sees categories, and of one that also sees text, for each encoder. `settings` are overrides of `recsys train`.
    """
    lines: list[str] = []
    figures: dict[str, list[float]] = {}
    for hidden_share in hide:
        for name, words in _list_variants(categories, text, encoders).items():
            config = _compose([*settings, *words, f"split.hide={hidden_share}"])
            dataset = add_hidden_items(load_dataset(config))
            if name == CATEGORIES:
                lines.append(f"share {hidden_share}: {len(dataset.new_ids)} hidden items")
                scorers = {"random": make_random_scorer(dataset), "popularity oracle": make_oracle_scorer(dataset)}
                for scorer_name, scorer in scorers.items():
                    lines.append(_format_line(scorer_name, rank_hidden_items(scorer, dataset, None), figures))
            model = train_cold_model(config, dataset)
            ranking = rank_hidden_items(partial(score_batch, model), dataset, config.batches.max_history)
            lines.append(_format_line(name, ranking, figures))
    if len(hide) > 1:
        lines.append(f"mean of {len(hide)} shares:")
        lines += [f"  {name:<20} {np.mean(values):.4f}" for name, values in figures.items()]
    return lines


def _list_variants(categories: Sequence[str], text: Sequence[str], encoders: Sequence[str]) -> dict[str, list[str]]:
    """Returns the overrides of each model by its name."""
    items = f"data.features.item=[{','.join(categories)}]"
    variants = {CATEGORIES: [items]}
    for encoder in encoders:
        text_words = [f"data.features.text=[{','.join(text)}]", f"data.features.text_encoder={encoder}"]
        variants[f"and {Path(encoder).name}"] = [items, *text_words]
    return variants


def add_hidden_items(dataset: Dataset) -> DatasetWithNewItems:
    """Returns the dataset with the items in its catalogue that occur only after training."""
    hidden = [str(raw) for raw in dataset.raw_items().to_pylist()[dataset.n_items :]]
    features = {name: np.array(rows[dataset.n_items + 1 :]) for name, rows in dataset.features("item").items()}
    return DatasetWithNewItems(dataset, hidden, features)


def train_cold_model(config: DictConfig, dataset: DatasetWithNewItems) -> Trainable:
    """Returns the model after all epochs on the known items, with the hidden items appended."""
    pl.seed_everything(config.seed, verbose=False)
    model = cast(Trainable, make_model(config.model, dataset.base, config.batches.max_history))
    model.prepare(dataset.base)
    module = TrainingModule(model, build(config.loss), partial(build, config.optimizer), dataset.base, config.seed)
    batches = build(config.batches, dataset=dataset.base, seed=config.seed)
    with warnings.catch_warnings():
        silence_warnings()
        warnings.filterwarnings("ignore", "You defined a `validation_step`")
        trainer: pl.Trainer = build(config.trainer, logger=False, enable_checkpointing=False)
        trainer.fit(module, DataLoader(batches, batch_size=None))
    model.append(to_tensors(dataset.new_features))
    return model.eval()


def rank_hidden_items(scorer: Scorer, dataset: DatasetWithNewItems, max_history: int | None) -> Ranking:
    """Returns the ranking of the hidden items alone. Items with equal scores, such as those of the same categories, are
    in a random order that is drawn once.
    """
    hidden = dataset.base.n_items + 1 + torch.randperm(len(dataset.new_ids), generator=torch.Generator().manual_seed(0))

    def score_hidden(batch: Batch) -> Tensor:
        scores = scorer(batch)
        ranks = torch.full_like(scores, -torch.inf)
        ranks[:, hidden] = scores[:, hidden].argsort(dim=1, stable=True).argsort(dim=1).to(scores.dtype)
        return ranks

    return evaluate_scorer(score_hidden, dataset, select_hidden_targets(dataset, max_history), (K,))


def make_random_scorer(dataset: DatasetWithNewItems, seed: int = 0) -> Scorer:
    """Returns a scorer with random scores."""
    generator = torch.Generator().manual_seed(seed)
    return lambda batch: torch.rand(len(batch.history), dataset.n_items + 1, generator=generator)


def make_oracle_scorer(dataset: DatasetWithNewItems) -> Scorer:
    """Returns a scorer by how often each item occurs in the whole log, which nobody knows beforehand."""
    counts = torch.from_numpy(np.bincount(dataset.items, minlength=dataset.n_items + 1)[: dataset.n_items + 1])
    return lambda batch: counts.float().expand(len(batch.history), -1)


def select_hidden_targets(dataset: DatasetWithNewItems, max_history: int | None) -> Iterator[Batch]:
    """Yields batches of the test users who have a hidden item there, with only hidden items as targets."""
    hidden = dataset.items > dataset.base.n_items
    before = np.concatenate([[0], np.cumsum(hidden)])
    rows = make_ranking_batches(dataset, "test", max_history).rows
    n_hidden = before[dataset.offsets[1:]] - before[dataset.bounds[:, 1]]
    for batch in make_ranking_batches(dataset, "test", max_history, rows=rows[n_hidden[rows] > 0]):
        mask = batch.targets > dataset.base.n_items
        yield replace(batch, targets=batch.targets[mask], target_query=batch.target_query[mask])


def _compose(words: Sequence[str]) -> DictConfig:
    initialized = GlobalHydra.instance().is_initialized()  # as in a command
    with nullcontext() if initialized else initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", [*words])


def _format_line(name: str, ranking: Ranking, figures: dict[str, list[float]]) -> str:
    value, (low, high) = ranking.metrics[f"ndcg@{K}"], ranking.intervals[f"ndcg@{K}"]
    figures.setdefault(name, []).append(value)
    return f"  {name:<20} {value:.4f}  [{low:.4f}, {high:.4f}]  {ranking.n_users:,} users"
