"""Slow end-to-end tests: the commands of the README, the wheel, training that is killed at any moment, and grids."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.planted import planted_log

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def run(command, folder, **options):
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=1500, **options)
    assert found.returncode == 0, f"{command}\n{found.stdout}\n{found.stderr}"
    return found.stdout


def environment():
    """Without anything that only this machine has."""
    return {key: value for key, value in os.environ.items() if key not in ("RECSYS_DATA", "PYTHONPATH")}


@pytest.fixture
def clone(tmp_path):
    """A clean checkout that uses this environment."""
    run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "clone")], tmp_path)
    (tmp_path / "clone" / ".venv").symlink_to(Path(sys.prefix))
    return tmp_path / "clone"


def blocks(page):
    """The page's commands in order; Python is handed to the interpreter."""
    found = re.findall(r"```(bash|python)\n(.*?)```", page.read_text(), re.DOTALL)
    shell = [text if kind == "bash" else f"python - <<'PYTHON'\n{text}PYTHON\n" for kind, text in found]
    return [text for text in shell if not text.startswith("make ")]


def test_readme_commands_run_in_order(clone):
    """With those of the pages on the file and on evaluation where the README comes to speak of export."""
    commands = blocks(clone / "README.md")
    place = next(n for n, text in enumerate(commands) if text.startswith("recsys export")) + 1
    commands[place:place] = [*blocks(clone / "docs/export.md"), *blocks(clone / "docs/evaluation.md")]
    assert len(commands) >= 12
    run(["bash", "-euo", "pipefail", "-c", "\n".join(commands)], clone, env=environment())
    assert json.loads((clone / "runs/readme/metrics.json").read_text())["n_items"] == 40


def test_wheel_works_elsewhere(tmp_path):
    run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)],
        tmp_path,
    )
    run([sys.executable, "-m", "venv", str(tmp_path / "venv")], tmp_path)
    wheel = next(tmp_path.glob("*.whl"))
    run([str(tmp_path / "venv/bin/pip"), "install", "--quiet", str(wheel)], tmp_path, env=environment())
    (tmp_path / "elsewhere").mkdir()
    command = [str(tmp_path / "venv/bin/recsys"), "train", "trainer=debug"]
    text = run(command, tmp_path / "elsewhere", env=environment())
    assert "popularity" in text
    assert "5,782 items" in text
    assert "leave a run folder" in run([str(tmp_path / "venv/bin/recsys"), "train", "--help"], tmp_path)


def words(log, folder, *more):
    return [
        sys.executable, "-W", "ignore", str(ROOT / "scripts/train.py"), "data=csv", f"data.path={log}", "threads=1",
        f"data.folder={log.parent}/prepared", "ks=[10]", "model=sasrec", "baselines=none", "trainer.max_epochs=60",
        "patience=100", "batches.batch_size=64", "export=false", f"hydra.run.dir={folder}", *more,
    ]  # fmt: skip


def test_killed_at_any_moment_again_and_again_ends_with_the_same_bits(tmp_path):
    log, draw = tmp_path / "events.csv", random.Random(0)
    planted_log(n_users=300).to_csv(log, index=False)
    run(words(log, tmp_path / "whole"), tmp_path)
    folder, command, kills = tmp_path / "cut", words(log, tmp_path / "cut"), 0
    while not (folder / "metrics.json").exists():
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=None if kills >= 6 else draw.uniform(3, 8))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        if (folder / "config.yaml").exists():
            command = [*command[:4], f"resume={folder}"]
        time.sleep(0.1)
    assert kills >= 3
    assert (folder / "metrics.json").read_text() == (tmp_path / "whole/metrics.json").read_text()


def test_a_grid_runs_every_combination(tmp_path):
    log = tmp_path / "events.csv"
    planted_log().to_csv(log, index=False)
    own = [w for w in words(log, "unused")[4:] if not w.startswith(("hydra.run.dir", "model="))]
    grid = ["trainer=debug", "model=two_tower,sasrec", "seed=1,2", f"hydra.sweep.dir={tmp_path}/grid"]
    run([sys.executable, "-W", "ignore", str(ROOT / "scripts/train.py"), "-m", *own, *grid], tmp_path)
    found = sorted(path.parent.name for path in (tmp_path / "grid").glob("*/metrics.json"))
    assert found == ["0", "1", "2", "3"]
