"""What data and training cost as they grow: synthetic power-law logs, each prepared under a memory cap and trained on
for some steps.
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
"""events that are written, and held in memory, at a time"""


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
    """Returns a Markdown table with a row for each of `sizes` (events, users, items), and draws it into `plot`.

    Columns are CPU-seconds and MiB of preparing with DuckDB capped at `memory`, and of `steps` steps of `recsys train
    WORDS` on the log, with and without the pages of mapped files, which the system may reclaim. Logs stay in `folder`.
    """
    rows = []
    for events, users, items in sizes:
        path = Path(folder) / f"log-{events}-{users}-{items}-{exponent}-{seed}.parquet"
        if not path.exists():
            write_power_law_log(path, events, users, items, exponent, seed)
        data = [f"data.path={path}", f"data.folder={folder}/data", f"data.memory={memory}", "data=parquet", words]
        first, again = (_measure_training(data, steps) for _ in range(2))
        rows.append({"events": events, "users": users, "items": items, **_select_costs(first, again, events)})
    if plot is not None:
        draw_sizes_chart(rows, Path(plot))
    header = [_format_row(*rows[0]), "|" + "---|" * len(rows[0])]
    cells = [[f"{n:,}" if isinstance(n, int) else f"{n:,.4g}" for n in row.values()] for row in rows]
    return [*header, *(_format_row(*row) for row in cells), describe_load()]


def _select_costs(first: dict[str, Any], again: dict[str, Any], events: int) -> dict[str, Any]:
    """Returns the columns of the table: preparation from the first run, training from the second."""
    return {
        "prepare, CPU-s": first["prepare_cpu_s"],
        "µs an event": first["prepare_cpu_s"] / events * 1e6,
        "µs a position": 1e6 / again["tokens_per_cpu_s"],
        "CPU-ms a step": again["step_cpu_ms"],
        "prepare, MiB": first["prepare_rss_mb"],
        "steps, MiB": again["train_rss_mb"],
        "without files, MiB": again["train_own_mb"] or math.nan,
    }


def draw_sizes_chart(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Draws the table of `measure`: preparation by events, positions by items, memory by events."""
    with require_extra("insights"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(11, 3.4), dpi=120, layout="constrained")
    memory = {"prepare, MiB": "preparing", "steps, MiB": "training", "without files, MiB": "without mapped files"}
    panels = [
        ("events", {"prepare, CPU-s": "CPU-seconds to prepare"}, "log", "CPU-s"),
        ("items", {"µs a position": "CPU-µs per position in training"}, "linear", "CPU-µs"),
        ("events", memory, "linear", "MiB"),
    ]
    for axes, (size, columns, scale, unit) in zip(figure.subplots(1, 3), panels, strict=True):
        for column, label in columns.items():
            axes.plot([row[size] for row in rows], [row[column] for row in rows], "o", label=label, alpha=0.8)
        axes.set(xlabel=size, ylabel=unit, xscale="log", yscale=scale)
        axes.set_ylim(bottom=None if scale == "log" else 0)
        axes.legend(loc="best")
        axes.grid(alpha=0.3)
    figure.savefig(path)


def write_power_law_log(path: Path, events: int, users: int, items: int, exponent: float, seed: int) -> None:
    """Writes a Parquet file of `events` rows (user, item, timestamp), in chunks.

    The n-th most active user and the n-th most popular item occur in proportion to n^-exponent; ids do not show that
    order. The same seed gives the same bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([("user", pa.int64()), ("item", pa.int64()), ("timestamp", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, events, ROWS):
            rng, n = np.random.default_rng((seed, start)), min(ROWS, events - start)
            ids = draw_power_law_ids(rng, n, users, exponent), draw_power_law_ids(rng, n, items, exponent)
            writer.write_table(pa.table([*ids, START + rng.integers(SECONDS, size=n)], schema=schema))


def draw_power_law_ids(rng: np.random.Generator, n: int, n_ids: int, exponent: float) -> np.ndarray:
    """Returns (n,) ids 0..n_ids-1, of which the r-th most frequent occurs in proportion to about r^-exponent."""
    u = rng.random(n)
    if math.isclose(exponent, 1):
        ranks = (n_ids + 1) ** u
    else:
        power = 1 - exponent
        ranks = (((n_ids + 1) ** power - 1) * u + 1) ** (1 / power)
    step = next(k for k in range(int(n_ids * 0.618) + 1, 2 * n_ids + 2) if math.gcd(k, n_ids) == 1)
    ids: np.ndarray = np.clip(ranks.astype(np.int64) - 1, 0, n_ids - 1) * step % n_ids
    return ids


def _measure_training(words: Sequence[str], steps: int) -> dict[str, Any]:
    """Returns the figures of `task=training` in a process of its own."""
    settings = ["task=training", f"words='{' '.join(words)}'", f"steps={steps}", "ranked=false", "answers=0"]
    command = [sys.executable, "-m", "recsys.cli.main", "benchmark", *settings]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise ConfigError(f"{' '.join(command[2:])} failed: {(process.stderr.strip() or '?').splitlines()[-1]}")
    figures: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return figures


def _format_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
