"""A log of views, carts and purchases, of which only purchases are predicted."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from recsys.config.settings import config_dir
from recsys.data.batches.one_row_per_user import UserRowBatches
from recsys.data.batches.ranking import RankingBatches
from recsys.data.batches.window import WindowBatches
from recsys.data.preparation.splits import GlobalTime
from recsys.data.schema import Columns
from recsys.errors import DataError
from recsys.models.baselines.training_events import decay_counts, read_events_before
from tests.planted import planted_log, planted_mixed, prepared


def types(data):
    return np.array(["", *data.event.values])[data.events[:, 0]]


def test_targets_are_the_purchases(mixed):
    assert np.array_equal(mixed.is_target, types(mixed) == "purchase")
    assert set(types(mixed)) == {"view", "cart", "purchase"}


def test_leave_one_out_holds_out_the_last_two_purchases(mixed):
    frame = planted_mixed().sort_values("timestamp")
    bought = frame[frame.event == "purchase"].groupby("user").item.agg(list)
    names, raw = pd.read_parquet(mixed.folder / "users.parquet").user, ["", *mixed.raw_items().to_pylist()]
    for user, (validation, test) in enumerate(mixed.bounds):
        own = bought[names[user]]
        if len(own) < 3:
            assert validation == test == mixed.offsets[user + 1]
        else:
            assert [raw[mixed.items[validation]], raw[mixed.items[test]]] == own[-2:]


def test_ranking_asks_for_purchases_after_a_history_of_all_events(mixed):
    for batch in RankingBatches(mixed, "test", 8):
        assert len(batch.targets) == len(batch.history)
        n = (batch.history > 0).sum(dim=1)
        cart = batch.history.gather(1, n[:, None] - 1)[:, 0]
        assert batch.targets.tolist() == cart.tolist()
        code = 1 + mixed.event.values.index("cart")
        assert (batch.events["event"].gather(1, n[:, None, None] - 1) == code).all()
        assert "event" not in batch.request


def test_only_bought_items_count_as_seen(tmp_path):
    data = prepared(tmp_path, planted_mixed(), columns=Columns(event="event"), target_events=["purchase"])
    batches = RankingBatches(data, "test", 8)
    batch = next(iter(batches))
    lengths = (batches.history_end - data.offsets[:-1])[batches.rows]
    for row, user in enumerate(batches.rows[np.argsort(lengths, kind="stable")][:8]):
        own = slice(int(data.offsets[user]), int(data.bounds[user, 1]))
        seen = batch.seen[1][batch.seen[0] == row].tolist()
        assert set(seen) == set(data.items[own][data.is_target[own]].tolist())


def test_training_takes_the_loss_at_purchases_alone(mixed):
    n = sum(len(batch.targets) for batch in UserRowBatches(mixed, 8, 1000, seed=0))
    owner = np.repeat(np.arange(mixed.n_users), np.diff(mixed.offsets))
    training = np.arange(len(owner)) < mixed.bounds[owner, 0]
    assert n == (training & mixed.is_target).sum()


def test_windows_hold_purchases_alone(tmp_path):
    data = prepared(tmp_path, planted_mixed(), GlobalTime(), columns=Columns(event="event"), target_events=["purchase"])
    owner = np.repeat(np.arange(data.n_users), np.diff(data.offsets))
    bought = {(int(u), int(i)) for u, i in zip(owner[data.is_target], data.items[data.is_target], strict=True)}
    found = 0
    for batch in WindowBatches(data, 8, 100, seed=0, days=3, n_queries=4):
        user = (batch.user["id"][batch.queries // 4] - 1)[batch.target_query]
        assert set(zip(user.tolist(), batch.targets.tolist(), strict=True)) <= bought
        found += len(batch.targets)
    assert found > 50


def test_popularity_counts_purchases_weighed(tmp_path):
    frame = planted_mixed().assign(amount=2.0)
    data = prepared(tmp_path, frame, columns=Columns(event="event", weight="amount"), target_events=["purchase"])
    counts = decay_counts(read_events_before(data, "validation"), data.n_items, None)
    assert counts.tolist() == (2.0 * data.item_counts).tolist()


@pytest.mark.parametrize(
    ("columns", "target", "message"),
    [(Columns(), ["purchase"], "data.columns.event"), (Columns(event="event"), ["order"], "which no event has")],
)
def test_unknown_targets_are_refused(tmp_path, columns, target, message):
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, planted_mixed(), columns=columns, target_events=target)


def test_a_log_without_other_events_is_untouched(tmp_path):
    plain = prepared(tmp_path / "plain", planted_log())
    named = prepared(tmp_path / "named", planted_log().assign(event="buy"), columns=Columns(event="event"))
    assert plain.split_hash == named.split_hash
    assert plain.event is None is named.event


@pytest.mark.slow
@pytest.mark.parametrize("model", ["sasrec", "two_tower", "ncf"])
def test_models_learn_that_the_cart_is_bought(tmp_path, model):
    """Bought items follow the cart; popularity and the user's own purchases know nothing of it."""
    planted_mixed(n_users=150).to_csv(tmp_path / "events.csv", index=False)
    words = [
        "data=csv", f"data.path={tmp_path}/events.csv", "data.columns.event=event", "data.target_events=[purchase]",
        "data.exclude_seen=false", f"data.folder={tmp_path}/data", f"hydra.run.dir={tmp_path}/run", f"model={model}",
        "trainer.max_epochs=15", "batches.batch_size=32", "optimizer.lr=0.01", "threads=1", "logger=none",
        "export=false",
    ]  # fmt: skip
    train = config_dir().parent / "scripts/train.py"
    found = subprocess.run(
        [sys.executable, "-W", "ignore", str(train), *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert found.returncode == 0, found.stderr
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    best = max(parts["test"]["hr@5"] for parts in metrics["baselines"].values())
    assert metrics["test"]["hr@5"] > best + 0.1
