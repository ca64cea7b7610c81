"""Training batches that predict the next item, with one row per query or one row per user."""

from recsys.config.types import Positive
from recsys.data.batches.loader import Shard, TrainingLoader
from recsys.data.batches.one_row_per_query import QueryRowBatches
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.dataset import Dataset
from recsys.errors import DataError

MAX_EVENTS = 2_000_000
"""the largest number of training events for which each query gets its own row by default, if histories are short"""


def next_item_batches(
    dataset: Dataset,
    batch_size: Positive | None,
    max_history: Positive,
    seed: int,
    see_basket: bool = False,
    alone: bool | None = None,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> TrainingLoader:
    """Batches in which every training event is the target of the query just before it.

    Each query has its own row (`alone`), or all queries of a user share one. Settings that are None depend on the
    length of histories and the number of rows. Raises DataError if both `see_basket` and `alone` are true.
    """
    if see_basket and alone:
        raise DataError("batches.see_basket=true needs the queries of a user in one row; leave batches.alone=null")
    if alone is None:
        alone = not see_basket and dataset.has_short_histories and len(dataset.items) <= MAX_EVENTS
    if alone:
        n_queries = int((dataset.bounds[:, 0] - dataset.offsets[:-1]).sum())
        return QueryRowBatches(dataset, batch_size or choose_batch_size(n_queries, 256), max_history, seed, shard)
    n_users = batch_size or choose_batch_size(dataset.n_users, 128)
    return UserRowBatches(dataset, n_users, max_history, seed, see_basket, shard)


def choose_batch_size(n_rows: int, largest: int) -> int:
    """A hundredth of the rows, for about 100 steps per epoch, but at least 16 and at most `largest`."""
    return min(max(n_rows // 100, 16), largest)
