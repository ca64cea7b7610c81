"""Training that goes on to the test: what it learns from, and that the catalogue stays."""

import numpy as np
import pandas as pd
import pytest

from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.dataset import TrainPlusValidation
from recsys.errors import ConfigError
from recsys.run import Run
from recsys.training.refit import fit_and_refit
from tests.composed import composed
from tests.planted import prepared


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Leave-one-out: a, b, c are learned; validation brings b, and d and e, which are new; then the test."""
    bought = {"u": "abcda", "v": "bcabc", "w": "caeb"}
    rows = [(user, item, moment) for user, items in bought.items() for moment, item in enumerate(items)]
    log = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return prepared(tmp_path_factory.mktemp("refit"), log, exclude_seen=False)


def targets(dataset):
    return sorted(
        item
        for batch in UserRowBatches(dataset, 2, 10, seed=0)
        for item in dataset.raw_items().take(batch.targets.numpy() - 1).to_pylist()
    )


def test_validation_is_learned_from_and_the_test_is_not(data):
    assert targets(data) == sorted("abcbcaca")
    assert targets(TrainPlusValidation(data.folder)) == sorted("abcbcaca" + "b")


def test_items_that_came_with_validation_stay_unknown(data):
    whole = TrainPlusValidation(data.folder)
    assert whole.n_items == data.n_items == 3
    assert whole.item_counts.sum() == data.item_counts.sum() + 1
    assert whole.item_counts[0] == 0


def test_what_is_ranked_does_not_change(data):
    whole = TrainPlusValidation(data.folder)
    assert np.array_equal(whole.bounds[:, 1], data.bounds[:, 1])
    assert whole.split_hash == data.split_hash


def test_a_closed_form_has_nothing_to_train_anew(data, tmp_path):
    config = composed("model=item_knn", "refit=true", f"data.folder={tmp_path}")
    with pytest.raises(ConfigError, match="models that are trained"):
        fit_and_refit(config, data, Run.create(tmp_path / "run", config))
