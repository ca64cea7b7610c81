"""What data and training cost as they grow: logs made up to a power law, prepared under a cap of memory, some steps of
training on each.
"""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.benchmark.figures import load
from recsys.config import ConfigError

START, SECONDS = 1_600_000_000, 3 * 365 * 86_400
ROWS = 1_000_000
"""of a chunk: what is in memory at a time"""


def measure(
    folder: str,
    sizes: Sequence[Sequence[int]],
    exponent: float,
    memory: str,
    words: str,
    steps: int,
    seed: int,
) -> list[str]:
    """A Markdown table with a row for each of `sizes` (events, users, items): CPU-seconds and MiB of preparing with
    DuckDB capped at `memory`, and of `steps` steps of `recsys train WORDS` on it. Logs stay in `folder`.
    """
    said = [
        "| events | users | items | prepare, CPU-s | µs an event | MiB | positions a CPU-s | CPU-ms a step | MiB |",
        "|" + "---|" * 9,
    ]
    for events, users, items in sizes:
        path = Path(folder) / f"log-{events}-{users}-{items}-{exponent}-{seed}.parquet"
        if not path.exists():
            write_log(path, events, users, items, exponent, seed)
        own = [f"data.path={path}", f"data.folder={folder}/data", f"data.memory={memory}", "data=parquet", words]
        first, again = (_measured(own, steps) for _ in range(2))
        prepared = first["prepare_cpu_s"], first["prepare_cpu_s"] / events * 1e6, first["prepare_rss_mb"]
        trained = again["tokens_per_cpu_s"], again["step_cpu_ms"], again["train_rss_mb"]
        said.append(_row(f"{events:,}", f"{users:,}", f"{items:,}", *(f"{n:,.4g}" for n in (*prepared, *trained))))
    return [*said, load()]


def write_log(path: Path, events: int, users: int, items: int, exponent: float, seed: int) -> None:
    """A Parquet file of `events` rows (user, item, timestamp), in chunks: the n-th most active user and the n-th most
    popular item come in proportion to n^-exponent; ids do not tell that order. The same seed, the same bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("timestamp", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, events, ROWS):
            rng, n = np.random.default_rng((seed, start)), min(ROWS, events - start)
            drawn = drawn_ids(rng, n, users, exponent), drawn_ids(rng, n, items, exponent)
            writer.write_table(pa.table([*drawn, START + rng.integers(SECONDS, size=n)], schema=schema))


def drawn_ids(rng: np.random.Generator, n: int, among: int, exponent: float) -> np.ndarray:
    """(n,) ids 0..among-1 of which the r-th most frequent comes in proportion to about r^-exponent."""
    u = rng.random(n)
    if math.isclose(exponent, 1):
        ranks = (among + 1) ** u
    else:
        power = 1 - exponent
        ranks = (((among + 1) ** power - 1) * u + 1) ** (1 / power)
    step = next(k for k in range(int(among * 0.618) + 1, 2 * among + 2) if math.gcd(k, among) == 1)
    found: np.ndarray = np.clip(ranks.astype(np.int64) - 1, 0, among - 1) * step % among
    return found


def _measured(words: Sequence[str], steps: int) -> dict[str, Any]:
    """The line of `task=training` in a process of its own."""
    settings = ["task=training", f"words='{' '.join(words)}'", f"steps={steps}", "ranked=false", "answers=0"]
    command = [sys.executable, "-m", "recsys.cli", "benchmark", *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{' '.join(command[2:])} failed: {(done.stderr.strip() or '?').splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
