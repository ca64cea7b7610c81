"""Two processes on one machine train like one."""

import json
import re
import subprocess
import sys

import pytest
import torch

from recsys.config.settings import config_dir
from tests.planted import planted_log

TRAIN = config_dir().parent / "scripts/train.py"
ONE_STEP = ["model.dropout=0", "patience=99", "baselines=none", "ks=[10]", "threads=1", "logger=none", "export=false"]
PLAIN = ["loss.bfloat16=false", "optimizer._target_=torch.optim.SGD", "optimizer.lr=0.5", "~optimizer.betas"]


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    planted_log(n_users=64).to_csv(folder / "events.csv", index=False)

    def run(name, *words, launcher=()):
        command = [
            sys.executable, "-W", "ignore", *launcher, str(TRAIN), "data=csv", f"data.path={folder}/events.csv",
            f"data.folder={folder}/data", f"hydra.run.dir={folder}/{name}", *ONE_STEP, *words,
        ]  # fmt: skip
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert found.returncode == 0, found.stderr
        metrics = json.loads((folder / name / "metrics.json").read_text())
        metrics["loss"] = float(re.findall(r"epoch \d+ of \d+: loss ([\d.]+)", found.stdout + found.stderr)[-1])
        return torch.load(folder / name / "model.pt", weights_only=True), metrics

    return run


@pytest.mark.slow
@pytest.mark.parametrize("model", ["two_tower", "sasrec"])
def test_two_ranks_and_four_accumulated_batches_equal_one_big_batch(train, model):
    words = [
        f"model={model}",
        "trainer.max_epochs=1",
        "batches.alone=false",
        *PLAIN,
        *(["model.block.dropout=0"] * (model == "sasrec")),
    ]
    whole, metrics = train(f"{model}-whole", *words, "batches.batch_size=64")
    share = ["batches.batch_size=8", "trainer.accumulate_grad_batches=4", "trainer=ddp"]
    parts, others = train(f"{model}-parts", *words, *share)
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=1e-6, atol=1e-6)
    assert others["loss"] == pytest.approx(metrics["loss"], abs=2e-4)
    assert others["validation"]["ndcg@10"] == pytest.approx(metrics["validation"]["ndcg@10"], abs=1e-6)


@pytest.mark.slow
def test_two_ranks_learn_what_one_learns(train):
    _, alone = train("alone", "model=sasrec", "trainer.max_epochs=12", "batches.batch_size=32")
    _, both = train("both", "model=sasrec", "trainer.max_epochs=12", "batches.batch_size=16", "trainer=ddp")
    assert alone["test"]["hr@10"] > 0.6
    assert both["test"]["hr@10"] == pytest.approx(alone["test"]["hr@10"], abs=0.15)


@pytest.mark.slow
def test_torchrun_and_spawned_processes_learn_the_same_bits(train):
    words = ["model=sasrec", "trainer.max_epochs=2", "batches.batch_size=32", "trainer=ddp"]
    spawned, metrics = train("spawned", *words)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launched, others = train("launched", *words, "trainer.devices=1", launcher=launcher)  # torchrun's number counts
    assert all(torch.equal(launched[name], weight) for name, weight in spawned.items())
    assert others == metrics
