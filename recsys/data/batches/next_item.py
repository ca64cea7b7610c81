"""Batches that teach what comes next, in the form that suits the data."""

from recsys.config.types import Positive
from recsys.data.batches.loader import Shard, TrainingLoader
from recsys.data.batches.one_row_per_query import QueryRowBatches
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.dataset import Dataset
from recsys.errors import DataError

FEW = 2_000_000
"""training events that are read once for each later one of their user, where histories are short"""


def next_item_batches(
    dataset: Dataset,
    batch_size: Positive | None,
    max_history: Positive,
    seed: int,
    see_basket: bool = False,
    alone: bool | None = None,
    shard: Shard = Shard(),  # noqa: B008 - frozen
) -> TrainingLoader:
    """Every training event as the target of the query just before it: queries `alone` in their rows, or those of a
    user together. What is None is chosen by the lengths of histories and the number of users. Raises DataError where
    queries that see their own basket shall stand alone.
    """
    if see_basket and alone:
        raise DataError("batches.see_basket=true needs the queries of a user in one row; leave batches.alone=null")
    if alone is None:
        alone = not see_basket and dataset.has_short_histories and len(dataset.items) <= FEW
    if alone:
        queries = int((dataset.bounds[:, 0] - dataset.offsets[:-1]).sum())
        return QueryRowBatches(dataset, batch_size or default_batch_size(queries, 256), max_history, seed, shard)
    users = batch_size or default_batch_size(dataset.n_users, 128)
    return UserRowBatches(dataset, users, max_history, seed, see_basket, shard)


def default_batch_size(rows: int, most: int) -> int:
    """A batch size that makes a hundred steps of an epoch or more, but 16 to `most` rows."""
    return min(max(rows // 100, 16), most)
