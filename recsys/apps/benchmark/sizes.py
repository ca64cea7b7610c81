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

from recsys.apps.benchmark.timing import describe_load
from recsys.errors import ConfigError
from recsys.extras import require_extra

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
    plot: str | None,
) -> list[str]:
    """A Markdown table with a row for each of `sizes` (events, users, items): CPU-seconds and MiB of preparing with
    DuckDB capped at `memory`, and of `steps` steps of `recsys train WORDS` on it, with and without the pages of mapped
    files that the system may take back; `plot` shows all. Logs stay in `folder`.
    """
    rows = []
    for events, users, items in sizes:
        path = Path(folder) / f"log-{events}-{users}-{items}-{exponent}-{seed}.parquet"
        if not path.exists():
            write_power_law_log(path, events, users, items, exponent, seed)
        own = [f"data.path={path}", f"data.folder={folder}/data", f"data.memory={memory}", "data=parquet", words]
        first, again = (_measured(own, steps) for _ in range(2))
        prepared = {"prepare, CPU-s": first["prepare_cpu_s"], "µs an event": first["prepare_cpu_s"] / events * 1e6}
        trained = {"µs a position": 1e6 / again["tokens_per_cpu_s"], "CPU-ms a step": again["step_cpu_ms"]}
        most = {"prepare, MiB": first["prepare_rss_mb"], "steps, MiB": again["train_rss_mb"]}
        held = {"without files, MiB": again["train_own_mb"] or math.nan}
        rows.append({"events": events, "users": users, "items": items, **prepared, **trained, **most, **held})
    if plot is not None:
        draw_sizes_chart(rows, Path(plot))
    header = [_line(*rows[0]), "|" + "---|" * len(rows[0])]
    return [
        *header,
        *(_line(*(f"{n:,}" if isinstance(n, int) else f"{n:,.4g}" for n in row.values())) for row in rows),
        describe_load(),
    ]


def draw_sizes_chart(rows: Sequence[dict[str, float]], path: Path) -> None:
    """A picture of what `measure` found: preparing against events, positions against items, memory against events."""
    with require_extra("insights"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 3.4), dpi=120, layout="constrained")
    pictures = [
        ("events", {"prepare, CPU-s": "CPU-seconds to prepare"}, "log"),
        ("items", {"µs a position": "CPU-µs a position in training"}, "linear"),
        (
            "events",
            {"prepare, MiB": "preparing", "steps, MiB": "training", "without files, MiB": "without mapped files"},
            "linear",
        ),
    ]
    for axes, (size, columns, scale), unit in zip(
        figure.subplots(1, 3), pictures, ("CPU-s", "CPU-µs", "MiB"), strict=True
    ):
        for column, label in columns.items():
            axes.plot([row[size] for row in rows], [row[column] for row in rows], "o", label=label, alpha=0.8)
        axes.set(xlabel=size, ylabel=unit, xscale="log", yscale=scale)
        axes.set_ylim(bottom=None if scale == "log" else 0)
        axes.legend(loc="best")
        axes.grid(alpha=0.3)
    figure.savefig(path)


def write_power_law_log(path: Path, events: int, users: int, items: int, exponent: float, seed: int) -> None:
    """A Parquet file of `events` rows (user, item, timestamp), in chunks: the n-th most active user and the n-th most
    popular item come in proportion to n^-exponent; ids do not tell that order. The same seed, the same bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("timestamp", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, events, ROWS):
            rng, n = np.random.default_rng((seed, start)), min(ROWS, events - start)
            drawn = draw_power_law_ids(rng, n, users, exponent), draw_power_law_ids(rng, n, items, exponent)
            writer.write_table(pa.table([*drawn, START + rng.integers(SECONDS, size=n)], schema=schema))


def draw_power_law_ids(rng: np.random.Generator, n: int, among: int, exponent: float) -> np.ndarray:
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
    command = [sys.executable, "-m", "recsys.cli.main", "benchmark", *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{' '.join(command[2:])} failed: {(done.stderr.strip() or '?').splitlines()[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
