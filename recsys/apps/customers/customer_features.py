"""Features of customers on a given day: recency, frequency and money, or the user vectors of a trained model.

C customers, D dimensions, U users of the dataset.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import OmegaConf

from recsys.apps.customers.purchases import OrderSummary, Purchases
from recsys.data.batches.batch import ColumnReader, bucket_by_length, move_up, pad_positions, to_tensor, to_tensors
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import ConfigError
from recsys.models.base import ModelInputs, Trainable
from recsys.models.build import restore
from recsys.run import Run

Array = np.ndarray
BATCH_SIZE = 256


class CustomerFeatures(NamedTuple):
    """The customers before a day, their features (C, D), and the unit in which each is compared (D,)."""

    customers: OrderSummary
    values: Array
    scale: Array


FeatureBuilder = Callable[[int], CustomerFeatures]
"""from a day to the features of the customers before it"""


def build_rfm_features(purchases: Purchases, day: int) -> CustomerFeatures:
    """Log recency, frequency and money of the customers before a day, each scaled by its standard deviation."""
    return scale_rfm_features(purchases.summarize_before(day))


def scale_rfm_features(customers: OrderSummary) -> CustomerFeatures:
    """Log recency, frequency and money of some customers, each scaled by its standard deviation."""
    values = customers.compute_rfm()
    deviation = values.std(axis=0)
    return CustomerFeatures(customers, values, np.where(deviation > 1e-6, deviation, 1.0))


class UserVectors:
    """A function from a day to the vectors that a run's model gives the customers before it; raises ConfigError for a
    model without user vectors.
    """

    def __init__(self, run: Run, purchases: Purchases) -> None:
        self.purchases, self.dataset = purchases, load_dataset(run.config)
        model = restore(run.config, self.dataset, run)
        if not isinstance(model, Trainable):
            raise ConfigError(f"{type(model).__name__} of '{run.folder}' has no user vectors; use by=rfm")
        if not self.dataset.metadata["cuts"]:
            raise ConfigError("by=embedding needs purchases that the model has not seen; train with split=global_time")
        self.model, self.reader = model, ColumnReader(self.dataset)
        self.max_history: int = run.config.batches.max_history
        self.space = hashlib.sha256((run.folder / "model.pt").read_bytes()).hexdigest()[:12]
        numbers = {str(raw): number for number, raw in enumerate(self.dataset.raw_users().to_pylist())}
        self.user_numbers = np.array([numbers.get(user, -1) for user in purchases.users])

    def __call__(self, day: int) -> CustomerFeatures:
        """Vectors of the customers who had an event that the model knows, from their histories before the day."""
        now = self.purchases.midnight(day)
        customers = self.purchases.summarize_before(day)
        users = self.user_numbers[customers.numbers]
        ends = find_history_ends(self.dataset, now)
        with_history = (users >= 0) & (ends[users] > self.dataset.offsets[users])
        values = self._encode(users[with_history], ends, now)
        step = np.sqrt(values.var(axis=0).mean())  # one scale for all dimensions keeps their relative size
        scale = np.full(values.shape[1], max(step, 1e-6))
        return CustomerFeatures(customers.select(with_history), values, scale)

    @torch.inference_mode()
    def _encode(self, users: Array, ends: Array, now: int) -> Array:
        """(C, D) the vectors of users, from their newest events before position `ends` (U,), at the time `now`."""
        end = ends[users]
        begin = np.maximum(self.dataset.offsets[users], end - self.max_history)
        vectors = np.zeros((len(users), 0), np.float32)
        for rows in bucket_by_length(end - begin, BATCH_SIZE, None):
            batch_vectors = self._encode_batch(users[rows], begin[rows], (end - begin)[rows], now)
            if not vectors.size:
                vectors = np.zeros((len(users), batch_vectors.shape[1]), np.float32)
            vectors[rows] = batch_vectors
        return vectors

    def _encode_batch(self, users: Array, begin: Array, lengths: Array, now: int) -> Array:
        index, mask = pad_positions(begin, lengths)
        items, events = move_up(self.reader.history(index, mask), self.reader.events(index, mask))
        timestamps = np.full(len(users), now)
        context = {name: column[:, None] for name, column in self.dataset.request_features(timestamps).items()}
        context["timestamp"] = timestamps[:, None]
        user = to_tensors(self.reader.user(users))
        inputs = ModelInputs(user, to_tensor(items), to_tensors(events), to_tensors(context)).at_end()
        vectors: Array = self.model.encode(inputs)[:, 0].numpy()
        return vectors


def find_history_ends(dataset: Dataset, now: int) -> Array:
    """(U,) the position of each user's first event from the time `now` on."""
    assert dataset.timestamps is not None, "the split has cuts"
    n_before = np.concatenate([[0], np.cumsum(dataset.timestamps < now)])
    start, end = dataset.offsets[:-1], dataset.offsets[1:]
    return np.asarray(start + n_before[end] - n_before[start])


def choose_cut_offs(purchases: Purchases, run: Run | None, holdout: int, choosing_k: bool) -> tuple[int, int]:
    """The days from which later purchases choose the number of segments and then evaluate them: the validation and test
    cut of a run that has cuts, since its weights have not seen what follows, else the last two times `holdout` days.
    Raises ConfigError for a log that is too short; choosing the number takes twice as long a log.
    """
    if run is not None and (cuts := load_dataset(run.config).metadata["cuts"]):
        return purchases.day_of(cuts[0]), purchases.day_of(cuts[1])
    length, needed = purchases.end - purchases.start, (2 if choosing_k else 1) * holdout
    if length <= needed:
        remedy = "lower holdout, or set k" if choosing_k else "lower holdout"
        raise ConfigError(f"holdout={holdout}d needs a log of more than {needed} days, this one has {length}; {remedy}")
    return purchases.end - 2 * holdout, purchases.end - holdout


def choose_feature_builder(purchases: Purchases, run: Run | None, by: str) -> tuple[FeatureBuilder, str]:
    """The function that builds the features `by`, and the name of their space: features of one space are comparable.
    Raises ConfigError for an unknown `by`.
    """
    if by == "rfm":
        return partial(build_rfm_features, purchases), "rfm"
    if by != "embedding":
        raise ConfigError(f"by={by} is unknown; use rfm or embedding")
    if run is None:
        raise ConfigError("by=embedding needs a trained model; set run=runs/DATE/TIME")
    vectors = UserVectors(run, purchases)
    return vectors, f"embedding:{vectors.space}"


def resolve_data_settings(run: str | None, data: dict[str, object]) -> tuple[Run | None, dict[str, object]]:
    """The run with its data settings where a run folder is named, else None and `data`."""
    if run is None:
        return None, data
    source = Run.open(Path(run))
    settings = OmegaConf.to_container(source.config.data, resolve=True)
    assert isinstance(settings, dict)
    return source, {str(name): value for name, value in settings.items()}
