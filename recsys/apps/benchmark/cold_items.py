"""How well items that nobody has had are ranked by their content.

A share of the items is hidden (`split=cold_items`), the model learns from the rest, and ranks the hidden items alone
for every user who has any of them in the test. B users, I items with padding, the hidden ones last.
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


def measure(
    settings: Sequence[str],
    categories: Sequence[str],
    text: Sequence[str],
    encoders: Sequence[str],
    hide: Sequence[int],
) -> list[str]:
    """Lines with N@10 of chance, of the hidden items' own popularity, of categories alone, and of these and text by
    each encoder, for each hidden share; `settings` are words of `recsys train`.
    """
    items = f"data.features.item=[{','.join(categories)}]"
    ways = {"categories": [items]}
    for encoder in encoders:
        ways[f"and {Path(encoder).name}"] = [
            items,
            f"data.features.text=[{','.join(text)}]",
            f"data.features.text_encoder={encoder}",
        ]
    said: list[str] = []
    figures: dict[str, list[float]] = {}
    for share in hide:
        for name, words in ways.items():
            config = _composed([*settings, *words, f"split.hide={share}"])
            dataset = with_later(load_dataset(config))
            if name == "categories":
                said.append(f"share {share}: {len(dataset.new_ids)} hidden items")
                simple = {"random": chance(dataset), "popularity oracle": oracle(dataset)}
                said += [_line(each, ranked(way, dataset, None), figures) for each, way in simple.items()]
            model = learned(config, dataset)
            said.append(_line(name, ranked(partial(score_batch, model), dataset, config.batches.max_history), figures))
    if len(hide) > 1:
        said += [
            f"mean of {len(hide)} shares:",
            *(f"  {name:<20} {np.mean(all_):.4f}" for name, all_ in figures.items()),
        ]
    return said


def with_later(dataset: Dataset) -> DatasetWithNewItems:
    """The dataset with those items in its catalogue that were first seen after training."""
    later = [str(raw) for raw in dataset.raw_items().to_pylist()[dataset.n_items :]]
    return DatasetWithNewItems(
        dataset, later, {name: np.array(a[dataset.n_items + 1 :]) for name, a in dataset.features("item").items()}
    )


def learned(config: DictConfig, dataset: DatasetWithNewItems) -> Trainable:
    """The model after all epochs on the known items, which then takes the others."""
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


def ranked(scorer: Scorer, dataset: DatasetWithNewItems, max_history: int | None) -> Ranking:
    """The hidden items alone, by a scorer of all. Those that score the same, as items of the same categories do, are in
    an order drawn once.
    """
    hidden = dataset.base.n_items + 1 + torch.randperm(len(dataset.new_ids), generator=torch.Generator().manual_seed(0))

    def only_hidden(batch: Batch) -> Tensor:
        scores = scorer(batch)
        found = torch.full_like(scores, -torch.inf)
        found[:, hidden] = scores[:, hidden].argsort(dim=1, stable=True).argsort(dim=1).to(scores.dtype)
        return found

    return evaluate_scorer(only_hidden, dataset, cold_batches(dataset, max_history), (K,))


def chance(dataset: DatasetWithNewItems, seed: int = 0) -> Scorer:
    """Scores that mean nothing."""
    draw = torch.Generator().manual_seed(seed)
    return lambda batch: torch.rand(len(batch.history), dataset.n_items + 1, generator=draw)


def oracle(dataset: DatasetWithNewItems) -> Scorer:
    """How often each item is had in the test, which nobody knows beforehand."""
    counts = torch.from_numpy(np.bincount(dataset.items, minlength=dataset.n_items + 1)[: dataset.n_items + 1])
    return lambda batch: counts.float().expand(len(batch.history), -1)


def cold_batches(dataset: DatasetWithNewItems, max_history: int | None) -> Iterator[Batch]:
    """The test users who have a hidden item there, with these targets only."""
    hidden = dataset.items > dataset.base.n_items
    before = np.concatenate([[0], np.cumsum(hidden)])
    rows = make_ranking_batches(dataset, "test", max_history).rows
    of_test = before[dataset.offsets[1:]] - before[dataset.bounds[:, 1]]
    for batch in make_ranking_batches(dataset, "test", max_history, rows=rows[of_test[rows] > 0]):
        cold = batch.targets > dataset.base.n_items
        yield replace(batch, targets=batch.targets[cold], target_query=batch.target_query[cold])


def _composed(words: Sequence[str]) -> DictConfig:
    inside = GlobalHydra.instance().is_initialized()  # as in a command
    with nullcontext() if inside else initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", [*words])


def _line(name: str, ranking: Ranking, figures: dict[str, list[float]]) -> str:
    value, (low, high) = ranking.metrics[f"ndcg@{K}"], ranking.intervals[f"ndcg@{K}"]
    figures.setdefault(name, []).append(value)
    return f"  {name:<20} {value:.4f}  [{low:.4f}, {high:.4f}]  {ranking.n_users:,} users"
