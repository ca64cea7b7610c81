"""What customers are like on a day: by recency, frequency and money, or by a trained model's vectors.

C customers, D dimensions.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import OmegaConf

from recsys.apps.customers.purchases import Ledger, Standing
from recsys.data.batches.batch import ColumnReader, bucket_by_length, move_up, pad_positions, to_tensor, to_tensors
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.models.base import ModelInputs, Trainable
from recsys.models.build import restore
from recsys.run import Run

Array = np.ndarray
BATCH = 256


class View(NamedTuple):
    """The customers of a day, their features (C, D) and what counts as one step of each (D,)."""

    standing: Standing
    features: Array
    scale: Array


Look = Callable[[int], View]
"""from a day to how customers stood before it"""


def rfm(ledger: Ledger, day: int) -> View:
    """Log-scaled recency, frequency and money, each by its deviation."""
    standing = ledger.before(day)
    return rfm_of(standing)


def rfm_of(standing: Standing) -> View:
    """The same, of customers as they stand."""
    features = standing.rfm()
    deviation = features.std(axis=0)
    return View(standing, features, np.where(deviation > 1e-6, deviation, 1.0))


class Vectors:
    """The vectors that a run's model gives its users; ConfigError for a model that has none."""

    def __init__(self, run: Run, ledger: Ledger) -> None:
        self.ledger, self.dataset = ledger, load_dataset(run.config)
        model = restore(run.config, self.dataset, run)
        if not isinstance(model, Trainable):
            raise ConfigError(f"{type(model).__name__} of '{run.folder}' has no user vectors; use by=rfm")
        if not self.dataset.metadata["cuts"]:
            raise ConfigError("by=embedding needs purchases that the model has not seen; train with split=global_time")
        self.model, self.reader = model, ColumnReader(self.dataset)
        self.max_history: int = run.config.batches.max_history
        self.space = hashlib.sha256((run.folder / "model.pt").read_bytes()).hexdigest()[:12]
        number = {str(raw): place for place, raw in enumerate(self.dataset.raw_users().to_pylist())}
        self.number = np.array([number.get(user, -1) for user in ledger.users])

    def __call__(self, day: int) -> View:
        """Those who had an event that the model knows, by their histories before the day."""
        now = self.ledger.midnight(day)
        standing = self.ledger.before(day)
        users = self.number[standing.customers]
        ends = events_before(self.dataset, now)
        some = (users >= 0) & (ends[users] > self.dataset.offsets[users])
        features = self._encoded(users[some], ends, now)
        step = np.sqrt(features.var(axis=0).mean())  # dimensions stay as large as the model made them
        return View(standing.of(some), features, np.full(features.shape[1], max(step, 1e-6)))

    @torch.inference_mode()
    def _encoded(self, users: Array, ends: Array, now: int) -> Array:
        first, end = self.dataset.offsets[users], ends[users]
        begin = np.maximum(first, end - self.max_history)
        found = np.zeros((len(users), 0), np.float32)
        for rows in bucket_by_length(end - begin, BATCH, None):
            index, mask = pad_positions(begin[rows], (end - begin)[rows])
            items, events = move_up(self.reader.history(index, mask), self.reader.events(index, mask))
            moment = np.full(len(rows), now)
            request = {n: a[:, None] for n, a in self.dataset.request_features(moment).items()}
            request["timestamp"] = moment[:, None]
            user = to_tensors(self.reader.user(users[rows]))
            inputs = ModelInputs(user, to_tensor(items), to_tensors(events), to_tensors(request)).at_end()
            vectors = self.model.encode(inputs)[:, 0].numpy()
            if not found.size:
                found = np.zeros((len(users), vectors.shape[1]), np.float32)
            found[rows] = vectors
        return found


def events_before(dataset: Dataset, now: int) -> Array:
    """(U,) where each user's events from the moment on start."""
    assert dataset.timestamps is not None, "the split has cuts"
    early = np.concatenate([[0], np.cumsum(dataset.timestamps < now)])
    start, end = dataset.offsets[:-1], dataset.offsets[1:]
    return np.asarray(start + early[end] - early[start])


def moments(ledger: Ledger, run: Run | None, holdout: int, choosing: bool) -> tuple[int, int]:
    """The days from which later purchases choose and then judge: a run's validation and test where it has cuts, which
    its weights have not seen, else the last two times `holdout` days. ConfigError for a log that is too short, which
    it is sooner where a number of segments is to be chosen.
    """
    if run is not None and (cuts := load_dataset(run.config).metadata["cuts"]):
        return ledger.day_of(cuts[0]), ledger.day_of(cuts[1])
    length, needed = ledger.end - ledger.start, (2 if choosing else 1) * holdout
    if length <= needed:
        remedy = "lower holdout, or name k" if choosing else "lower holdout"
        raise ConfigError(f"holdout={holdout}d needs a log of more than {needed} days, it has {length}: {remedy}")
    return ledger.end - 2 * holdout, ledger.end - holdout


def looks(ledger: Ledger, run: Run | None, by: str) -> tuple[Look, str]:
    """How customers are seen, and the name of the space of their features; ConfigError for an unknown `by`."""
    if by == "rfm":
        return partial(rfm, ledger), "rfm"
    if by != "embedding":
        raise ConfigError(f"by={by} is unknown; use rfm or embedding")
    if run is None:
        raise ConfigError("by=embedding needs a trained model; write run=runs/DATE/TIME")
    vectors = Vectors(run, ledger)
    return vectors, f"embedding:{vectors.space}"


def data_of(run: str | None, data: dict[str, object]) -> tuple[Run | None, dict[str, object]]:
    """The run, if one is named, and the settings of its data, else those given."""
    if run is None:
        return None, data
    found = Run.open(Path(run))
    settings = OmegaConf.to_container(found.config.data, resolve=True)
    assert isinstance(settings, dict)
    return found, {str(name): value for name, value in settings.items()}
