"""Batches to learn what comes in the next days: all items of a window are targets of the query before it.

B users, L history slots, Q queries a user, M real queries in all, T targets. A loss over all later actions is
known from PinnerFormer (Pancha et al., 2022); a shop is asked for the next weeks, not for the next click.
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
    """`n_queries` random moments for each user and epoch, each answered by the distinct items of the `days` that
    follow, which shard a weight of one. Moments are those at which a time split asks: any, not only when the user
    comes to buy.
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
        trained = self.timestamps[dataset.in_training()]
        self.earliest, self.latest = int(trained.min()), int(trained.max()) - self.span
        if self.latest <= self.earliest:
            raise DataError(f"training is shorter than windows of days={days}; lower batches.days")

    def gather(self, users: Array, rng: np.random.Generator) -> Batch:
        """The batch of some users."""
        index, mask = pad_positions(self.start[users], self.length[users])
        items = self.reader.history(index, mask)
        times = np.where(mask, self.timestamps[index], NEVER)[:, None]
        moment = np.sort(rng.integers(self.earliest, self.latest, (len(users), self.n_queries)), axis=1)
        positions = np.sum(times < moment[:, :, None], axis=2)
        inside: Array = (times >= moment[:, :, None]) & (times < moment[:, :, None] + self.span)
        inside &= ((positions > 0) | ~self.cut_off[users][:, None])[:, :, None]  # a cut history was not empty before
        inside &= (self.reader.targets(index, mask) & (items > 0))[:, None]
        real = np.any(inside, axis=2)
        positions = np.where(real, positions, 0)
        history, events = truncate_rows(positions.max(axis=1), items, self.reader.events(index, mask))
        target, answers, weight = self._targets(items, inside, real)
        request = self.dataset.request_features(moment.ravel()) | {"timestamp": moment.ravel()}
        return Batch(
            user=to_tensors(self.reader.user(users)),
            history=to_tensor(history),
            events=to_tensors(events),
            request=to_tensors(
                {name: array.reshape(*moment.shape, *array.shape[1:]) for name, array in request.items()}
            ),
            positions=to_tensor(positions),
            queries=to_tensor(np.flatnonzero(real)),
            targets=to_tensor(target),
            target_query=to_tensor(answers),
            weights=to_tensor(weight),
            total_weight=float(max(real.sum(), 1)),
            n_tokens=int(mask.sum()),
        )

    def _targets(self, items: Array, inside: Array, real: Array) -> tuple[Array, Array, Array]:
        """Distinct items (T,) in each window, the query of M that each answers, and their weights."""
        row, query, slot = np.nonzero(inside)
        number = np.cumsum(real).reshape(real.shape) - 1
        width = self.dataset.n_items + 1
        answers, target = np.divmod(np.unique(number[row, query] * width + items[row, slot]), width)
        return target, answers, (1 / np.bincount(answers)[answers]).astype(np.float32)
