"""A dataset that follows an older one keeps its numbers, and a model of it what the older model knew."""

import numpy as np
import pandas as pd
import pytest
import torch

from recsys.apps.lifecycle.grow_model import grow_weights
from recsys.data.batches.batch import ColumnReader
from recsys.data.features import Encoder, Features
from recsys.data.preparation.splits import GlobalTime, LeaveOneOut, Random
from recsys.data.preparation.vocabulary import extend_encoder
from recsys.data.schema import Columns
from recsys.data.sources.files import FrameSource
from recsys.errors import ConfigError, DataError
from recsys.evaluation.scoring import score_batch
from tests.contracts.test_models import TRAINED, batch_of, made
from tests.planted import DAY, START, planted_baskets, planted_items, planted_log, planted_users, prepared

FEATURES = Features(user=["age"], item=["aisle"], context=["hour"])
SHOP = {"columns": Columns(basket="basket"), "features": FEATURES, "exclude_seen": False, "split": GlobalTime()}


def shop_log(events, **settings):
    return FrameSource(events, planted_items(60), planted_users(60)), {**SHOP, **settings}


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    events = planted_baskets()
    source, settings = shop_log(events[events["timestamp"] < events["timestamp"].quantile(0.6)])
    return prepared(tmp_path_factory.mktemp("older"), source, **settings)


@pytest.fixture(scope="module")
def newer(older, tmp_path_factory):
    """The whole log, in which ids that sort before all old ones are new and some old ones are gone."""
    events = planted_baskets()
    gone = str(older.raw_users()[3]), str(older.raw_items()[2])
    events = events[~events["user"].isin(gone) & ~events["item"].isin(gone)]
    later = events[events["timestamp"] > events["timestamp"].quantile(0.5)]
    strangers = later.assign(user="a" + later["user"], item="a" + later["item"], basket=later["basket"] + 10_000)
    source, settings = shop_log(pd.concat([events, strangers.head(60)]), vocabulary=str(older.folder))
    return prepared(tmp_path_factory.mktemp("newer"), source, **settings)


def test_old_users_and_items_keep_their_numbers_even_without_an_event(older, newer):
    n = older.n_items
    assert newer.raw_items().to_pylist()[:n] == older.raw_items().to_pylist()[:n]
    assert newer.raw_users().to_pylist()[: older.n_users] == older.raw_users().to_pylist()
    assert newer.n_items > n
    assert newer.n_users > older.n_users
    assert newer.item_counts[3] == 0
    assert newer.offsets[3] == newer.offsets[4]
    assert newer.user_rows[3] == 0


def test_new_items_of_training_follow_by_count_and_later_ones_come_last(older, newer):
    counts = newer.item_counts[older.n_items + 1 :]
    assert (np.diff(counts) <= 0).all()
    everything = np.bincount(newer.items, minlength=len(newer.raw_items()) + 1)
    assert (everything[older.n_items + 1 :] > 0).all()


def test_events_are_those_of_a_dataset_without_vocabulary(older, newer, tmp_path):
    events = planted_baskets()
    source, settings = shop_log(events)
    plain = prepared(tmp_path, source, **settings)
    kept = prepared(tmp_path, source, **settings, vocabulary=str(older.folder))
    assert plain.folder != kept.folder
    assert kept.metadata["cuts"] == plain.metadata["cuts"]
    assert histories(kept) == histories(plain)
    assert parts(kept) == parts(plain)


def histories(dataset):
    """Raw items, times, hours and aisles of each raw user, baskets as sets."""
    raw = np.array(["", *dataset.raw_items().to_pylist()], object)
    aisles = np.array(["", *dataset.encoders["item"]["aisle"].values], object)[dataset.features("item")["aisle"][:, 0]]
    columns = raw[dataset.items], dataset.timestamps, dataset.features("context")["hour"][:, 0], aisles[dataset.items]
    rows = [tuple(map(str, row)) for row in zip(*columns, strict=True)]
    bounds = zip(dataset.raw_users().to_pylist(), dataset.offsets[:-1], dataset.offsets[1:], strict=True)
    return {user: sorted(rows[a:b]) for user, a, b in bounds}


def parts(dataset):
    lengths = dataset.bounds - dataset.offsets[:-1, None]
    return dict(zip(dataset.raw_users().to_pylist(), map(tuple, lengths.tolist()), strict=True))


def test_values_and_scales_stay(older, newer):
    for kind in ("user", "item", "context"):
        for name, old in older.encoders[kind].items():
            new = newer.encoders[kind][name]
            assert new.values[: len(old.values)] == old.values
            assert (new.mean, new.deviation) == (old.mean, old.deviation)
    n = older.n_items + 1
    kept = np.arange(n) != 0
    assert (newer.features("item")["aisle"][:n][kept] == older.features("item")["aisle"][:n][kept]).all()
    aged = ColumnReader(older).user(np.arange(older.n_users))["age"]
    assert (ColumnReader(newer).user(np.arange(older.n_users))["age"] == aged).all()


@pytest.mark.parametrize("split", [LeaveOneOut(), Random()])
def test_a_log_whose_last_users_are_gone_is_split_like_any(split, tmp_path):
    log = planted_log()
    old = prepared(tmp_path, log, split)
    fewer = log[log["user"] < "u50"]
    plain, kept = prepared(tmp_path, fewer, split), prepared(tmp_path, fewer, split, vocabulary=str(old.folder))
    assert kept.n_users == old.n_users
    assert parts(plain).items() <= parts(kept).items()
    assert (kept.bounds[50:] == len(kept.items)).all()


def test_whole_numbers_become_text_where_a_new_id_is_text(tmp_path):
    numbers = pd.DataFrame([(u, i, START + DAY * i) for u in range(5) for i in range(4)],
                           columns=["user", "item", "timestamp"])  # fmt: skip
    old = prepared(tmp_path, numbers)
    text = pd.concat([numbers.astype({"user": str, "item": str}), numbers.assign(user="x", item="y")])
    new = prepared(tmp_path, text, vocabulary=str(old.folder))
    assert new.raw_items().to_pylist()[: old.n_items] == [
        str(raw) for raw in old.raw_items().to_pylist()[: old.n_items]
    ]
    assert set(new.raw_items().to_pylist()) == {"0", "1", "2", "3", "y"}


def test_another_vocabulary_is_another_dataset_wherever_it_lies(older, tmp_path):
    source, settings = shop_log(planted_baskets())
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("metadata.json", "items.parquet", "users.parquet"):
        (copied / name).write_bytes((older.folder / name).read_bytes())
    first = prepared(tmp_path, source, **settings, vocabulary=str(older.folder))
    assert prepared(tmp_path, source, **settings, vocabulary=str(copied)).folder == first.folder


def test_what_is_no_vocabulary_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.vocabulary='.*' has no metadata.json"):
        prepared(tmp_path, planted_log(), vocabulary=str(tmp_path))
    with pytest.raises(DataError, match=r"'item\.price' is a number and was a category"):
        extend_encoder(Encoder("number"), Encoder("category", ("1",)), "item.price")


@pytest.mark.parametrize(("name", "word"), TRAINED)
def test_a_grown_model_answers_as_the_old_one_did(name, word, older, newer):
    old, model = made(name, older, word), made(name, newer, word)
    grow_weights(old.state_dict(), model)
    batch, n = batch_of(older), older.n_items + 1
    torch.testing.assert_close(score_batch(model, batch)[:, :n], score_batch(old, batch)[:, :n])
    weights = model.state_dict()
    for parameter, _ in old.named_parameters():
        before, after = old.state_dict()[parameter], weights[parameter]
        assert after[: len(before)].numpy().tobytes() == before.numpy().tobytes() if before.ndim else after == before
    assert score_batch(model, batch_of(newer))[:, n:].isfinite().all()


def test_new_rows_start_at_the_mean_of_the_old_and_tell_items_apart(older, newer):
    old, model = made("two_tower", older), made("two_tower", newer)
    fresh, n = model.item.weight.detach().clone(), older.n_items + 1
    grow_weights(old.state_dict(), model)
    new = model.item.weight[n:]
    torch.testing.assert_close(new, old.item.weight[1:].mean(dim=0) + fresh[n:] - fresh[1:n].mean(dim=0))
    assert len(new.unique(dim=0)) == len(new) > 0


def test_popularity_of_new_items_follows_their_counts(older, newer):
    old, model = made("two_tower", older), made("two_tower", newer)
    model.prepare(newer)  # without the noise that the test model has
    grow_weights(old.state_dict(), model)
    new = model.popularity.weight[older.n_items + 1 :, 0].detach()
    logs = np.log(newer.item_counts[older.n_items + 1 :] + 1)
    np.testing.assert_allclose(new - new[0], logs - logs[0], atol=1e-5)


def test_weights_of_another_model_are_refused(older, newer):
    with pytest.raises(ConfigError, match=r"has no weights '.*' of this shape; train a new model"):
        grow_weights(made("sasrec", older).state_dict(), made("two_tower", newer))
    with pytest.raises(ConfigError, match="cannot shrink"):
        grow_weights(made("two_tower", newer).state_dict(), made("two_tower", older))
