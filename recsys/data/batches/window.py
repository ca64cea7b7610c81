"""Training batches that predict the next days: all items of a window are targets of the query before it.

PinnerFormer (Pancha et al., 2022) has a loss over all later actions; a shop predicts the next weeks, not the next
click.

B users, L history slots, Q queries per user, M real queries, T targets.
"""

import numpy as np

from recsys.config.types import Positive
from recsys.data.batches.batch import Array, Batch, pad_positions, to_tensor, to_tensors, truncate_rows
from recsys.data.batches.loader import Shard, TrainingLoader
from recsys.data.dataset import Dataset
from recsys.errors import DataError

DAY = 86_400
NEVER = np.iinfo(np.int64).max // 2


class WindowBatches(TrainingLoader):
    """`n_queries` random times for each user and epoch, whose targets are the distinct items of the `days` after them.

    The weights of a query's targets add up to 1. Times are drawn from all of training, as a time split cuts anywhere,
    not only when the user buys. Raises DataError without times, or if training is shorter than a window.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: Positive,
        max_history: Positive,
        seed: int,
        days: float = 30,
        n_queries: Positive = 8,
        shard: Shard = Shard(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(dataset, batch_size, max_history, seed, shard)
        if dataset.timestamps is None:
            raise DataError("batches=window needs times; name the column under data.columns.timestamp")
        self.timestamps, self.span, self.n_queries = dataset.timestamps, int(days * DAY), n_queries
        training_times = self.timestamps[dataset.in_training()]
        self.earliest, self.latest = int(training_times.min()), int(training_times.max()) - self.span
        if self.latest <= self.earliest:
            raise DataError(f"training is shorter than windows of days={days}; lower batches.days")

    def gather(self, rows: Array, rng: np.random.Generator) -> Batch:
        """The batch of some users."""
        index, mask = pad_positions(self.start[rows], self.length[rows])
        items = self.reader.history(index, mask)
        event_times = np.where(mask, self.timestamps[index], NEVER)[:, None]
        request_times = np.sort(rng.integers(self.earliest, self.latest, (len(rows), self.n_queries)), axis=1)
        positions = np.sum(event_times < request_times[:, :, None], axis=2)
        inside: Array = (event_times >= request_times[:, :, None]) & (
            event_times < request_times[:, :, None] + self.span
        )
        inside &= ((positions > 0) | ~self.cut_off[rows][:, None])[
            :, :, None
        ]  # a history that was cut off did not start empty
        inside &= (self.reader.targets(index, mask) & (items > 0))[:, None]
        has_target = np.any(inside, axis=2)
        positions = np.where(has_target, positions, 0)
        history, events = truncate_rows(positions.max(axis=1), items, self.reader.events(index, mask))
        targets, target_query, weights = self._find_targets(items, inside, has_target)
        request = self.dataset.request_features(request_times.ravel()) | {"timestamp": request_times.ravel()}
        return Batch(
            user=to_tensors(self.reader.user(rows)),
            history=to_tensor(history),
            events=to_tensors(events),
            request=to_tensors(
                {name: array.reshape(*request_times.shape, *array.shape[1:]) for name, array in request.items()}
            ),
            positions=to_tensor(positions),
            queries=to_tensor(np.flatnonzero(has_target)),
            targets=to_tensor(targets),
            target_query=to_tensor(target_query),
            weights=to_tensor(weights),
            total_weight=float(max(has_target.sum(), 1)),
            n_tokens=int(mask.sum()),
        )

    def _find_targets(self, items: Array, inside: Array, has_target: Array) -> tuple[Array, Array, Array]:
        """The distinct items (T,) of each window, their queries (of the M), and their weights."""
        row, query, slot = np.nonzero(inside)
        number = np.cumsum(has_target).reshape(has_target.shape) - 1
        width = self.dataset.n_items + 1
        target_query, targets = np.divmod(np.unique(number[row, query] * width + items[row, slot]), width)
        return targets, target_query, (1 / np.bincount(target_query)[target_query]).astype(np.float32)
