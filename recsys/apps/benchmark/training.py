"""What training, ranking and an answer cost, in the units that other libraries' scripts (scripts/peers) print too."""

import json
import os
import shlex
import time
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from recsys.apps.benchmark.timing import cpu_ms
from recsys.config.build import build
from recsys.config.settings import config_dir
from recsys.data.batches.batch import Batch
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, make_scorer
from recsys.models.base import Model, Trainable
from recsys.models.build import make_seeded_model
from recsys.run import anonymous_rss_mb, peak_rss_mb
from recsys.training.datamodule import BatchDataModule
from recsys.training.module import TrainingModule

SHORT = ["trainer.max_epochs=1", "trainer.limit_val_batches=0"]


class Clock(pl.Callback):
    """CPU-seconds of this process at the end of each step, and the real positions that the step read."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:  # noqa: ARG002
        """Look at the clock."""
        self.steps.append((time.process_time(), args[1].n_tokens))

    def tokens_per_cpu_s(self) -> float:
        """After the first step."""
        spent = self.steps[-1][0] - self.steps[0][0]
        return sum(tokens for _, tokens in self.steps[1:]) / spent


def measure(words: str, steps: int, threads: int, ranked: bool, answers: int) -> list[str]:
    """One line of JSON for `recsys train WORDS` cut to some steps: real positions a CPU-second after the first step,
    CPU-seconds from the start of the process to that step, users ranked a CPU-second, CPU-milliseconds of one answer
    by the file to a user who was not there in training, MiB at most and, after the steps, those that
    are no mapped file's. 0 `answers`: no file.

    Where the data had been prepared before, `prepare` says what reading them costs, and memory is that of training.

    Raises ConfigError for less than two steps.
    """
    if steps < 2:
        raise ConfigError(f"steps={steps}; give at least 2, for the first is not counted")
    before = os.getloadavg()[0]
    config = trained_as(*shlex.split(words), *SHORT, f"trainer.limit_train_batches={steps}", f"threads={threads}")
    start = time.process_time()
    dataset = load_dataset(config)
    prepared = {"prepare_cpu_s": round(time.process_time() - start, 2), "prepare_rss_mb": peak_rss_mb()}
    model = trainable(config, dataset)
    clock = Clock()
    fitted(model, dataset, config, clock)
    found: dict[str, Any] = {
        "name": "recsys",
        "threads": torch.get_num_threads(),
        "steps": len(clock.steps),
        **prepared,
        "tokens_per_cpu_s": round(clock.tokens_per_cpu_s()),
        "step_cpu_ms": round(1e3 * float(np.median(np.diff([at for at, _ in clock.steps]))), 1),
        "first_step_cpu_s": round(clock.steps[0][0], 2),
        "train_rss_mb": peak_rss_mb(),
        "train_own_mb": anonymous_rss_mb(),
    }
    if ranked:
        found |= ranking(model.eval(), dataset, config)
    if answers:
        found["answer_cpu_ms"] = round(answered(model.eval(), dataset, answers), 3)
    return [json.dumps(found | {"load": [before, os.getloadavg()[0]]})]


def trained_as(*words: str) -> DictConfig:
    """The configuration of `recsys train WORDS`, without what is written beside a model."""
    inside = GlobalHydra.instance().is_initialized()  # as it is in a command
    with nullcontext() if inside else initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", ["logger=none", "trainer.enable_progress_bar=false", *words])


def trainable(config: DictConfig, dataset: Dataset) -> Trainable:
    """The configured model; ConfigError if it is not trained by steps."""
    model = make_seeded_model(config, dataset)
    if not isinstance(model, Trainable):
        raise ConfigError(f"{type(model).__name__} is not trained by steps; choose a model that is")
    return model


def fitted(model: Trainable, dataset: Dataset, config: DictConfig, watching: pl.Callback) -> None:
    """Train a model while somebody watches."""
    model.prepare(dataset)
    module = TrainingModule(model, build(config.loss), partial(build, config.optimizer), dataset, config.seed)
    trainer: pl.Trainer = build(config.trainer, logger=False, callbacks=[watching], enable_checkpointing=False)
    trainer.fit(module, datamodule=BatchDataModule(config.batches, dataset, config.seed))


def ranking(model: Model, dataset: Dataset, config: DictConfig) -> dict[str, float]:
    """Users ranked a CPU-second, all metrics included, and of the same users with their lists of ten alone."""
    batches = make_ranking_batches(dataset, "test", config.batches.max_history)
    start = time.process_time()
    n_users = evaluate_scorer(make_scorer(model), dataset, batches, tuple(config.ks)).n_users
    between = time.process_time()
    scored = make_scorer(model)
    with torch.inference_mode():
        for batch in batches:
            _listed(scored(batch), batch)
    end = time.process_time()
    return {
        "ranked_users_per_cpu_s": round(n_users / (between - start), 1),
        "listed_users_per_cpu_s": round(n_users / (end - between), 1),
        "rank_rss_mb": peak_rss_mb(),
    }


def answered(model: Model, dataset: Dataset, times: int) -> float:
    """The median CPU time in milliseconds of `Recommender.recommend` for one history."""
    from recsys.export.export import exported  # late: training and ranking are measured without it
    from recsys.export.user_histories import Past
    from recsys.serving.recommender import Recommender

    proto, _ = exported(model, dataset, "float16", False, 100, {"model": "measured"})
    file = Recommender(proto.SerializeToString())
    taken = Past(dataset, file.describe()["inputs"]).of(str(dataset.raw_users()[0]))
    return cpu_ms({"one": lambda: file.recommend(**taken, k=10, exclude_seen=True)}, times)["one"]


def _listed(scores: torch.Tensor, batch: Batch) -> np.ndarray:
    if batch.seen is not None:
        scores[batch.seen[0], batch.seen[1]] = -torch.inf
    return scores.topk(10, dim=1).indices.numpy()
