"""What training, ranking and one answer cost, in the units that the other libraries' scripts (scripts/peers) use."""

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
from typing_extensions import override

from recsys.apps.benchmark.timing import time_in_turns
from recsys.config.build import build
from recsys.config.settings import config_dir
from recsys.data.batches.batch import Batch
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.evaluation.evaluate import evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, make_scorer
from recsys.models.base import Model, Trainable
from recsys.models.build import make_trainable_model
from recsys.run import anonymous_rss_mb, peak_rss_mb
from recsys.training.datamodule import BatchDataModule
from recsys.training.module import TrainingModule

ONE_EPOCH = ["trainer.max_epochs=1", "trainer.limit_val_batches=0"]


class StepClock(pl.Callback):
    """Records, at the end of each step, the CPU-seconds of this process and the real positions that the step read."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = []

    @override
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self.steps.append((time.process_time(), args[1].n_tokens))

    def tokens_per_cpu_s(self) -> float:
        """Returns the real positions per CPU-second after the first step."""
        spent = self.steps[-1][0] - self.steps[0][0]
        return sum(tokens for _, tokens in self.steps[1:]) / spent


def measure(words: str, steps: int, threads: int, ranked: bool, answers: int) -> list[str]:
    """Returns one line of JSON about `recsys train WORDS` cut to some steps.

    It has the real positions per CPU-second after the first step, the CPU-seconds from the start of the process to that
    step, users ranked per CPU-second, the CPU-milliseconds of one answer of the file (0 `answers`: no file) to a user
    unknown in training, the peak memory in MiB, and, after the steps, the memory that belongs to no mapped file. If the
    data were prepared before, `prepare` is the cost of reading them, and memory is that of training.

    Raises ConfigError for fewer than two steps.
    """
    if steps < 2:
        raise ConfigError(f"steps={steps}; give at least 2, since the first is not counted")
    load_before = os.getloadavg()[0]
    overrides = [*shlex.split(words), *ONE_EPOCH, f"trainer.limit_train_batches={steps}", f"threads={threads}"]
    config = compose_benchmark_training(*overrides)
    start = time.process_time()
    dataset = load_dataset(config)
    prepared = {"prepare_cpu_s": round(time.process_time() - start, 2), "prepare_rss_mb": peak_rss_mb()}
    model = make_trainable_model(config, dataset)
    clock = StepClock()
    train_with_callback(model, dataset, config, clock)
    figures: dict[str, Any] = {
        "name": "recsys",
        "threads": torch.get_num_threads(),
        "steps": len(clock.steps),
        **prepared,
        "tokens_per_cpu_s": round(clock.tokens_per_cpu_s()),
        "step_cpu_ms": round(1e3 * float(np.median(np.diff([second for second, _ in clock.steps]))), 1),
        "first_step_cpu_s": round(clock.steps[0][0], 2),
        "train_rss_mb": peak_rss_mb(),
        "train_own_mb": anonymous_rss_mb(),
    }
    if ranked:
        figures |= measure_ranking(model.eval(), dataset, config)
    if answers:
        figures["answer_cpu_ms"] = round(measure_answer(model.eval(), dataset, answers), 3)
    return [json.dumps(figures | {"load": [load_before, os.getloadavg()[0]]})]


def compose_benchmark_training(*words: str) -> DictConfig:
    """Returns the configuration of `recsys train WORDS` without loggers and progress bar."""
    initialized = GlobalHydra.instance().is_initialized()  # as in a command
    with nullcontext() if initialized else initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", ["logger=none", "trainer.enable_progress_bar=false", *words])


def train_with_callback(model: Trainable, dataset: Dataset, config: DictConfig, callback: pl.Callback) -> None:
    """Trains a model with one callback."""
    model.prepare(dataset)
    module = TrainingModule(model, build(config.loss), partial(build, config.optimizer), dataset, config.seed)
    trainer: pl.Trainer = build(config.trainer, logger=False, callbacks=[callback], enable_checkpointing=False)
    trainer.fit(module, datamodule=BatchDataModule(config.batches, dataset, config.seed))


def measure_ranking(model: Model, dataset: Dataset, config: DictConfig) -> dict[str, float]:
    """Returns users ranked per CPU-second, with all metrics, and of the same users with their lists of ten alone."""
    batches = make_ranking_batches(dataset, "test", config.batches.max_history)
    start = time.process_time()
    n_users = evaluate_scorer(make_scorer(model), dataset, batches, tuple(config.ks)).n_users
    between = time.process_time()
    score_batch = make_scorer(model)
    with torch.inference_mode():
        for batch in batches:
            _select_top_ten(score_batch(batch), batch)
    end = time.process_time()
    return {
        "ranked_users_per_cpu_s": round(n_users / (between - start), 1),
        "listed_users_per_cpu_s": round(n_users / (end - between), 1),
        "rank_rss_mb": peak_rss_mb(),
    }


def measure_answer(model: Model, dataset: Dataset, times: int) -> float:
    """Returns the median CPU milliseconds of `Recommender.recommend` for one history."""
    from recsys.export.export import build_model_file  # late: training and ranking are measured without it
    from recsys.export.user_histories import UserHistories
    from recsys.serving.recommender import Recommender

    proto, _ = build_model_file(model, dataset, "float16", False, 100, {"model": "measured"})
    file = Recommender(proto.SerializeToString())
    request = UserHistories(dataset, file.describe()["inputs"]).read(str(dataset.raw_users()[0]))
    return time_in_turns({"answer": lambda: file.recommend(**request, k=10, exclude_seen=True)}, times)["answer"]


def _select_top_ten(scores: torch.Tensor, batch: Batch) -> np.ndarray:
    if batch.seen is not None:
        scores[batch.seen[0], batch.seen[1]] = -torch.inf
    return scores.topk(10, dim=1).indices.numpy()
