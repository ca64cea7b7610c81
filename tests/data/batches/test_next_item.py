"""Which batches teach what comes next, by the data."""

import numpy as np
import pandas as pd
import pytest

from recsys.data.batches.next_item import choose_batch_size, next_item_batches
from recsys.data.batches.one_row_per_query import QueryRowBatches
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.errors import DataError
from tests.planted import prepared


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Three users of 40 events."""
    rows = [(user, (user + n) % 50, n) for user in range(3) for n in range(40)]
    return prepared(tmp_path_factory.mktemp("long"), pd.DataFrame(rows, columns=["user", "item", "timestamp"]))


def test_queries_stand_alone_where_histories_are_short(dataset, long, monkeypatch):
    assert isinstance(next_item_batches(dataset, 8, 50, 0), QueryRowBatches)
    assert isinstance(next_item_batches(long, 8, 50, 0), UserRowBatches)
    assert isinstance(next_item_batches(long, 8, 50, 0, alone=True), QueryRowBatches)
    assert isinstance(next_item_batches(dataset, 8, 50, 0, alone=False), UserRowBatches)
    monkeypatch.setattr("recsys.data.batches.next_item.MAX_EVENTS", len(dataset.items) - 1)
    assert isinstance(next_item_batches(dataset, 8, 50, 0), UserRowBatches)


def test_a_query_that_sees_its_basket_needs_the_row_of_its_user(shop):
    assert next_item_batches(shop, 8, 50, 0, see_basket=True).see_basket
    with pytest.raises(DataError, match=r"leave batches\.alone=null"):
        next_item_batches(shop, 8, 50, 0, see_basket=True, alone=True)


def test_an_epoch_of_few_users_has_steps_enough(dataset, long):
    assert [choose_batch_size(rows, 128) for rows in (3, 1599, 6040, 10**6)] == [16, 16, 60, 128]
    assert next_item_batches(long, None, 50, 0).batch_size == 16
    n_events = np.count_nonzero(dataset.in_training())
    assert next_item_batches(dataset, None, 50, 0).batch_size == choose_batch_size(n_events, 256)
