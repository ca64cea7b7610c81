"""Batches to learn what comes in the next days: all items of a window are targets of the query before it.

B users, L history slots, Q queries a user, T targets. The loss of all later actions is known from Pinterest's
PinnerFormer (2022); shops are asked for the next weeks, not for the next click.
"""

import numpy as np

from recsys.data.batches import Array, Batch, padded, tensor, tensors
from recsys.data.dataset import Dataset
from recsys.data.schema import DataError
from recsys.data.training_batches import TrainingBatches, basket_start

DAY = 86_400


class WindowBatches(TrainingBatches):
    """`n_queries` random moments of each user an epoch, each answered by the distinct items of the `days` that
    follow, which share a weight of one. Moments whose window outlasts training are left out, as are those of the
    log's first `min_days`, whose histories are short; a user with no other moment is asked at those.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        max_history: int,
        seed: int,
        days: float = 30,
        n_queries: int = 8,
        min_days: float = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(dataset, batch_size, max_history, seed, False, rank, world_size)
        if dataset.timestamps is None:
            raise DataError("batches=window needs times; name the column under data.columns.timestamp")
        self.timestamps = dataset.timestamps
        self.span, self.n_queries = int(days * DAY), n_queries
        trained = np.arange(len(self.timestamps)) < dataset.bounds[np.repeat(*_users(dataset)), 0]
        self.earliest = int(self.timestamps[trained].min()) + int(min_days * DAY)
        self.latest = int(self.timestamps[trained].max()) - self.span

    def gather(self, users: Array, rng: np.random.Generator) -> Batch:
        """The batch of some users."""
        index, mask = padded(self.start[users], self.length[users])
        items = self.reader.history(index, mask)
        times = np.where(mask, self.timestamps[index], np.iinfo(np.int64).max // 2)
        starts = basket_start(np.where(mask, self.dataset.baskets[index], np.iinfo(np.int64).max // 2))
        ask, real = self._ask(starts, times, mask, self.cut_off[users], rng)
        moment = np.take_along_axis(times, ask, 1)
        target, answers, weight = self._targets(items, times, ask, moment, real)
        columns = self.reader.events(index, mask)
        rows = np.arange(len(users))[:, None]
        return Batch(
            user=tensors(self.reader.user(users)),
            history=tensor(items),
            events=tensors(columns),
            request=tensors({name: array[rows, ask] for name, array in columns.items()}),
            ask=tensor(ask),
            query=tensor(np.flatnonzero(real)),
            target=tensor(target),
            target_query=tensor(answers),
            weight=tensor(weight),
            mass=float(real.sum()),
            n_tokens=int(mask.sum()),
        )

    def _ask(
        self, starts: Array, times: Array, mask: Array, cut_off: Array, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """The slots (B, Q) of the moments, without repeats, and which of them are real."""
        new = mask & (starts == np.arange(starts.shape[1]))
        new[:, 0] &= ~cut_off | (new.sum(axis=1) == 1)  # a cut history's first moment has nothing before it
        good = new & (times >= self.earliest) & (times <= self.latest)
        draw = np.where(good, rng.random(new.shape), np.where(new, 1 + rng.random(new.shape), np.inf))
        ask = np.argsort(draw, axis=1)[:, : self.n_queries]
        wanted = np.where(good.any(axis=1), good.sum(axis=1), 1)
        real = np.arange(ask.shape[1]) < wanted[:, None]
        return np.where(real, ask, 0), real

    def _targets(
        self, items: Array, times: Array, ask: Array, moment: Array, real: Array
    ) -> tuple[Array, Array, Array]:
        """Distinct items (T,) in each window, the query (T,) that each answers, and their weights."""
        place = np.arange(items.shape[1])
        inside = (place >= ask[:, :, None]) & (times[:, None] <= moment[:, :, None] + self.span) & real[:, :, None]
        row, query, slot = np.nonzero(inside)
        number = np.cumsum(real).reshape(real.shape) - 1
        width = self.dataset.n_items + 1
        pairs = np.unique(number[row, query] * width + items[row, slot])
        answers, target = pairs // width, pairs % width
        return target, answers, (1 / np.bincount(answers)[answers]).astype(np.float32)


def _users(dataset: Dataset) -> tuple[Array, Array]:
    return np.arange(dataset.n_users), np.diff(dataset.offsets)
