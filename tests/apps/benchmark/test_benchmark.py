"""Benchmarks run and count what they say they count; what they find is not for tests to say."""

import inspect
import json
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf

from recsys.apps.benchmark import artefact as answers
from recsys.apps.benchmark import explain, http, peers, replay, sessions, sizes, training, until
from recsys.apps.benchmark.timing import time_in_turns
from recsys.config.settings import config_dir
from recsys.errors import ConfigError
from recsys.export.torch_graph import export_to_onnx
from recsys.run import anonymous_rss_mb
from recsys.serving.schemas import ServerLimits
from recsys.serving.serve import serve
from tests.composed import composed
from tests.planted import planted_log

PEERS = Path(__file__).parents[3] / "scripts" / "peers"


def test_calls_take_turns():
    order = []
    spent = time_in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warm_up=1)
    assert order == ["a", "b"] * 3
    assert list(spent) == ["a", "b"]


@pytest.mark.slow
def test_an_answer_is_measured_in_every_precision():
    said = answers.measure(n_items=60, rounds=2, check_users=20)
    for name in ("bare", *answers.PRECISIONS):
        assert any(line.startswith(f"batch 1, {name}: ") for line in said)
    assert any("cold start" in line for line in said)


@pytest.mark.slow
def test_an_answer_is_measured_beside_another_file(tmp_path):
    """The other file is one of ours, with the inputs and the output of RePlay's."""

    class Counted(torch.nn.Module):
        def forward(self, item_id, padding_mask):
            return (item_id * padding_mask).sum(dim=1, keepdim=True) + torch.arange(60.0)

    names, shapes = ["item_id", "padding_mask"], ({0: torch.export.Dim("batch")},) * 2
    proto = export_to_onnx(Counted(), (torch.ones(2, 200).long(), torch.ones(2, 200) > 0), names, shapes)
    (tmp_path / "other.onnx").write_bytes(proto.SerializeToString())
    said = replay.measure(str(tmp_path / "other.onnx"), n_items=60, rounds=2)
    assert sum("÷ RePlay" in line for line in said) == 6
    items, scores = replay.wrap_replay_file(tmp_path / "other.onnx", np.array(["", *map(str, range(60))], object))(
        ["59", "x", "57"]
    )
    assert items == ["58", *map(str, range(56, 47, -1))]
    assert scores == sorted(scores, reverse=True)


def said(figures):
    return f"{sys.executable} -c 'print({json.dumps(json.dumps(figures))})'"


def test_commands_take_turns_and_are_set_beside_the_first(tmp_path):
    counter = tmp_path / "order"
    code = "import sys, json; open(sys.argv[1], 'a').write(sys.argv[2]); "
    code += "print('noise'); print(json.dumps({'speed': float(sys.argv[3]), 'threads': 1}))"
    commands = {
        name: shlex.join([sys.executable, "-c", code, str(counter), name, n]) for name, n in (("a", "8"), ("b", "2"))
    }
    (tmp_path / "commands.yaml").write_text(json.dumps(commands))
    found = peers.measure(str(tmp_path / "commands.yaml"), 3, None, ["speed", "missing"], str(tmp_path / "table.md"))
    assert counter.read_text() == "ababab"
    assert found[2] == "| speed | 8 (8-8) | 2 (2-2), × 0.25 |"
    assert found[3] == "| missing | – | – |"
    assert (tmp_path / "table.md").read_text().splitlines() == found


def test_pandas_prepares_the_same_arrays(tmp_path):
    sizes.write_power_law_log(tmp_path / "log.parquet", 5_000, 300, 60, exponent=0.8, seed=1)
    scripts = ["pandas_prepare.py", tmp_path / "pandas"], ["recsys_prepare.py", tmp_path / "recsys", "1GB"]
    for name, *words in scripts:
        command = [sys.executable, PEERS / name, tmp_path / "log.parquet", *words]
        assert peers.run_peer_command(name, shlex.join(map(str, command)))["events"] == 5_000
    (ours,) = (tmp_path / "recsys").iterdir()
    for name in ("items", "baskets", "offsets", "split", "timestamps", "item_counts"):
        assert np.array_equal(np.load(ours / f"{name}.npy"), np.load(tmp_path / "pandas" / f"{name}.npy")), name


def test_commands_on_other_threads_are_not_compared():
    commands = {"a": said({"threads": 1}), "b": said({"threads": 2})}
    with pytest.raises(ConfigError, match="different threads"):
        peers.compare_commands(commands, 1, None, ["speed"])


@pytest.mark.parametrize("command", ["false", "true", f"{sys.executable} -c 'raise SystemExit(3)'"])
def test_a_command_without_figures_is_named(command):
    with pytest.raises(ConfigError, match=r"commands\.a ended with status"):
        peers.compare_commands({"a": command}, 1, None, ["speed"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_training_of_some_steps_is_measured(tmp_path):
    planted_log(n_users=64).to_csv(tmp_path / "events.csv", index=False)
    words = ["model=sasrec", "data=csv", f"data.path={tmp_path}/events.csv", f"data.folder={tmp_path}/data",
             "batches.batch_size=8", "ks=[10]"]  # fmt: skip
    found = json.loads(training.measure(shlex.join(words), steps=4, threads=1, ranked=True, answers=3)[0])
    assert found["steps"] == 4
    assert found["threads"] == 1
    assert all(found[name] > 0 for name in composed("task=peers", name="benchmark").figures)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("value", "epochs"), [(0.01, 1), (0.99, 3)])
def test_training_is_measured_until_it_is_good_enough(value, epochs, tmp_path):
    planted_log(n_users=64).to_csv(tmp_path / "events.csv", index=False)
    words = ["model=sasrec", "data=csv", f"data.path={tmp_path}/events.csv", f"data.folder={tmp_path}/data",
             "batches.batch_size=32", "trainer.max_epochs=3"]  # fmt: skip
    found = json.loads(until.measure(shlex.join(words), value, threads=1)[0])
    assert found["epochs"] == len(found["ndcg@10"]) == epochs
    assert found["reached"] == (found["ndcg@10"][-1] >= value)
    assert found["train_cpu_s"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is a process's own")
def test_own_memory_leaves_mapped_files_out(tmp_path):
    np.full(2**26, 1, dtype=np.uint8).tofile(tmp_path / "mapped")
    before = anonymous_rss_mb()
    mapped = np.memmap(tmp_path / "mapped", dtype=np.uint8, mode="r")
    assert mapped.sum() == 2**26
    assert anonymous_rss_mb() - before < 16
    held = np.full(2**26, 1, dtype=np.uint8)
    assert anonymous_rss_mb() - before > 48, held.size


def test_what_growth_costs_is_drawn(tmp_path):
    names = ["events", "items", "prepare, CPU-s", "µs a position", "prepare, MiB", "steps, MiB", "without files, MiB"]
    sizes.draw_sizes_chart([dict.fromkeys(names, n) for n in (10.0, 1000.0)], tmp_path / "sizes.png")
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")


def test_logs_are_made_up_to_a_power_law_in_any_chunks(tmp_path, monkeypatch):
    sizes.write_power_law_log(tmp_path / "a.parquet", 50_000, 1000, 300, exponent=0.8, seed=1)
    log = pd.read_parquet(tmp_path / "a.parquet")
    assert len(log) == 50_000
    assert log.user.max() < 1000
    counts = log.item.value_counts().to_numpy()
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(counts[:100]), 1)[0]
    assert -0.95 < slope < -0.65
    assert abs(np.corrcoef(log.item.value_counts().index[:100], np.arange(100))[0, 1]) < 0.5  # ids do not tell
    sizes.write_power_law_log(tmp_path / "b.parquet", 50_000, 1000, 300, exponent=0.8, seed=1)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    monkeypatch.setattr(sizes, "ROWS", 20_000)
    sizes.write_power_law_log(tmp_path / "c.parquet", 50_000, 1000, 300, exponent=1.0, seed=1)
    assert pq.ParquetFile(tmp_path / "c.parquet").metadata.num_row_groups == 3
    assert pq.read_metadata(tmp_path / "c.parquet").num_rows == 50_000


@pytest.mark.slow
def test_requests_are_counted_and_none_fails(artefact):
    said = http.measure(str(artefact("sasrec")), connections=4, seconds=0.3, rounds=1)
    assert "failed 0" in said[0]
    assert "median ratio" in said[1]


@pytest.mark.slow
@pytest.mark.parametrize("store", ["memory", "redis"])
def test_every_click_is_known_to_the_next_list(artefact, store):
    if store == "redis" and shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    said = sessions.measure(str(artefact("sasrec")), store, rate=20.0, seconds=0.5, customers=3)
    assert "5 of 5 lists used the click" in said[3]


@pytest.mark.slow
def test_refused_requests_count_as_failures(artefact):
    with http.run_server(artefact("sasrec")) as (port, _):
        found = http.run_load_client(port, 2, 0.2, [["POST", "/recommend", {"k": 0}]])
    assert found["failed"] > 0
    json.dumps(found)


def test_yaml_lists_every_setting_of_the_server():
    config = OmegaConf.to_container(OmegaConf.load(config_dir() / "serve.yaml"))
    assert set(inspect.signature(serve).parameters) == set(config) - {"defaults", "hydra"}
    assert config["limits"] == asdict(ServerLimits())


@pytest.mark.parametrize(
    ("task", "measure"),
    [
        ("artefact", answers.measure),
        ("explain", explain.measure),
        ("http", http.measure),
        ("peers", peers.measure),
        ("replay", replay.measure),
        ("sessions", sessions.measure),
        ("sizes", sizes.measure),
        ("training", training.measure),
        ("until", until.measure),
    ],
)
def test_yaml_lists_every_setting_of_a_benchmark(task, measure):
    config = composed(f"task={task}", name="benchmark")
    assert set(config) == set(inspect.signature(measure).parameters) | {"_target_"}
