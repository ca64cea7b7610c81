"""Batches that teach what comes next, in the form that suits the data."""

from recsys.config.types import Positive
from recsys.data.batches.loader import Epochs, Share
from recsys.data.batches.one_row_per_query import PrefixBatches
from recsys.data.batches.one_row_per_user import TrainingBatches
from recsys.data.dataset import Dataset
from recsys.errors import DataError

FEW = 2_000_000
"""training events that are read once for each later one of their user, where histories are short"""


def next_batches(
    dataset: Dataset,
    batch_size: Positive | None,
    max_history: Positive,
    seed: int,
    see_basket: bool = False,
    alone: bool | None = None,
    share: Share = Share(),  # noqa: B008 - frozen
) -> Epochs:
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
        return PrefixBatches(dataset, batch_size or hundredth(queries, 256), max_history, seed, share)
    users = batch_size or hundredth(dataset.n_users, 128)
    return TrainingBatches(dataset, users, max_history, seed, see_basket, share)


def hundredth(rows: int, most: int) -> int:
    """A batch size that makes a hundred steps of an epoch or more, but 16 to `most` rows."""
    return min(max(rows // 100, 16), most)
