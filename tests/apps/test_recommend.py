"""Lists for a Parquet file of users, with histories of their own or those of the run's data."""

import sys
from unittest import mock

import pandas as pd
import pyarrow.parquet as pq
import pytest

from recsys.cli.main import run_command
from recsys.export.export import export_run
from recsys.run import Run
from recsys.serving.recommender import Recommender
from recsys.training.train import train_run
from tests.composed import composed
from tests.planted import planted_baskets, planted_items, planted_users

pytestmark = pytest.mark.xdist_group("bulk")  # one process makes what they share

NOW = 1_700_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run that knows times and features of users."""
    folder = tmp_path_factory.mktemp("scoring")
    planted_baskets().to_parquet(folder / "events.parquet")
    planted_users().to_parquet(folder / "users.parquet")
    planted_items().to_parquet(folder / "items.parquet")
    config = composed(
        "data=parquet", f"data.path={folder}/events.parquet", f"data.folder={folder}/data", "ks=[10]",
        "data.columns.basket=basket",
        f"data.source.users={folder}/users.parquet", f"data.source.items={folder}/items.parquet", "split=global_time",
        "data.features.user=[age]", "data.features.context=[hour]", "data.exclude_seen=false", "model=two_tower",
        "baselines=none", "trainer=debug", "trainer.enable_progress_bar=false",
    )  # fmt: skip
    found = Run.create(folder / "run", config)
    train_run(found)
    export_run(found, composed(f"run={found.folder}", name="export"))
    return found


def recommend(run, users, out, *words):
    """What the command leaves in `out`, or the line with which it ends."""
    words = ["recsys", f"run={run.folder}", f"users={users}", f"out={out}", *words]
    with mock.patch.object(sys, "argv", words):
        run_command("recommend")
    return pq.read_table(out).to_pylist()


def refused(run, users, out, *words):
    with pytest.raises(SystemExit) as stopped:
        recommend(run, users, out, *words)
    assert not out.exists()
    assert list(out.parent.glob(f".{out.name}*")) == []
    return str(stopped.value)


def test_rows_with_histories_are_answered_in_order(run, tmp_path):
    users = pd.DataFrame(
        {
            "segment": ["new", "old", "lost"],
            "history": [[], ["i03", "?", "i05"], None],
            "history_timestamp": [[], [NOW - 9, NOW - 8, NOW - 7], None],
            "age": [30.0, None, 50.0],
        }
    )
    users.to_parquet(tmp_path / "users.parquet")
    found = recommend(
        run, tmp_path / "users.parquet", tmp_path / "out.parquet", f"timestamp={NOW}", "k=4", "batch_size=2"
    )
    assert [row["segment"] for row in found] == ["new", "old", "lost"]
    assert [row["known"] for row in found] == [0, 2, 0]
    assert found[1]["unknown"] == ["?"]
    assert list(found[0]) == ["segment", "items", "scores", "known", "unknown"]
    context = {"timestamp": NOW, "history_timestamp": [NOW - 9, NOW - 8, NOW - 7]}
    alone = Recommender(run.folder / "model.onnx").recommend(["i03", "?", "i05"], context=context, k=4)
    assert found[1]["items"] == alone.items
    assert found[1]["scores"] == pytest.approx(alone.scores, rel=1e-4)


def test_users_alone_are_answered_by_their_history_in_the_log(run, tmp_path):
    log, ages = planted_baskets(), planted_users().set_index("user")["age"]
    user = str(log["user"].iloc[0])
    pd.DataFrame({"user": [user, "nobody"]}).to_parquet(tmp_path / "users.parquet")
    found = recommend(run, tmp_path / "users.parquet", tmp_path / "out.parquet", f"timestamp={NOW}")
    own = log[log["user"].astype(str) == user].sort_values(["timestamp"], kind="stable")
    assert found[0]["user"] == user
    assert found[0]["known"] == len(own)
    assert found[1]["known"] == 0
    seconds = own["timestamp"].astype("datetime64[s]").astype(int).tolist()
    context = {"timestamp": NOW, "history_timestamp": seconds, "age": float(ages[own["user"].iloc[0]])}
    alone = Recommender(run.folder / "model.onnx").recommend(own["item"].tolist(), context=context)
    assert found[0]["items"] == alone.items
    assert found[0]["scores"] == pytest.approx(alone.scores, rel=1e-3)


def test_what_cannot_be_read_leaves_no_file(run, tmp_path):
    users, out = tmp_path / "users.parquet", tmp_path / "out.parquet"
    assert "there is no file" in refused(run, users, out)
    users.write_text("user,item")
    assert "is not a Parquet file" in refused(run, users, out)
    pd.DataFrame({"customer": ["a"]}).to_parquet(users)
    assert "neither a column 'history'" in refused(run, users, out)
    pd.DataFrame({"history": [["i03"], ["i03", "i05"]], "history_timestamp": [[NOW], [NOW]]}).to_parquet(users)
    assert "row 2 of users: history_timestamp must be a list as long" in refused(run, users, out)
    pd.DataFrame({"history": [["i03"]]}).to_parquet(users)
    assert "k=0 is invalid: expected a whole number ≥ 1" in refused(run, users, out, "k=0")


def test_a_run_without_its_file_says_how_to_write_it(run, tmp_path):
    other = tmp_path / "run"
    other.mkdir()
    (other / "config.yaml").write_text((run.folder / "config.yaml").read_text())
    assert "recsys export run=" in refused(Run(other), tmp_path / "users.parquet", tmp_path / "out.parquet")
