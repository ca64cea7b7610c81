"""Commands that take turns, each in its own process: A B A B, so that a busy machine slows all of them alike.

The last line that a command prints is JSON with its figures; `threads` must be the same in all.
"""

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from recsys.apps.benchmark.timing import describe_load
from recsys.errors import ConfigError
from recsys.run import write_text

Figures = dict[str, Any]


def measure(commands: str, rounds: int, against: str | None, figures: Sequence[str], out: str | None) -> list[str]:
    """Returns a Markdown table, also written to `out`: the median of each figure, its spread over the rounds and the
    ratio to that of `against` (None: the first command). `commands` is a YAML file of `NAME: COMMAND`.

    Raises ConfigError if a command fails, prints no figures, or uses another number of threads than the first one.
    """
    content = OmegaConf.to_container(OmegaConf.load(commands), resolve=True)
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"commands={commands} names no commands; write a line NAME: COMMAND for each")
    by_name = {str(name): str(command) for name, command in content.items()}
    lines = compare_commands(by_name, rounds, against, figures)
    if out is not None:
        write_text(Path(out), "\n".join(lines) + "\n")
    return lines


def compare_commands(
    commands: Mapping[str, str], rounds: int, against: str | None, figures: Sequence[str]
) -> list[str]:
    """Returns the lines of the table."""
    base = against or next(iter(commands))
    if base not in commands:
        raise ConfigError(f"against={base} is not among {', '.join(commands)}")
    runs: dict[str, list[Figures]] = {name: [] for name in commands}
    before = describe_load()
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(run_peer_command(name, command))
            _check_threads(runs)
    table = format_peer_table(runs, figures, base)
    return [*table, "", f"{rounds} rounds in turn; {before} before, {describe_load()} after"]


def run_peer_command(name: str, command: str) -> Figures:
    """Returns the figures that a command prints last."""
    process = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    lines = [line for line in process.stdout.splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        reason = (process.stderr.strip() or process.stdout.strip() or "nothing was printed").splitlines()[-1]
        raise ConfigError(f"commands.{name} ended with status {process.returncode} and no line of JSON: {reason}")
    figures: Figures = json.loads(lines[-1])
    return figures


def format_peer_table(runs: Mapping[str, Sequence[Figures]], figures: Sequence[str], base: str) -> list[str]:
    """Returns a table with one row per figure and one column per command: median (lowest-highest) and × that of `base`;
    – where it was not measured.
    """
    rows = [["", *runs], ["---"] * (len(runs) + 1)]
    for figure in figures:
        values = {name: [run[figure] for run in results if figure in run] for name, results in runs.items()}
        rows.append([figure, *(_format_cell(column, values[base]) for column in values.values())])
    rows.append(["threads", *(str(results[0].get("threads")) for results in runs.values())])
    return [f"| {' | '.join(row)} |" for row in rows]


def _format_cell(values: Sequence[float], base: Sequence[float]) -> str:
    if not values:
        return "–"
    spread = f"{np.median(values):,.4g} ({min(values):,.4g}-{max(values):,.4g})"
    return spread if not base or values is base else f"{spread}, × {np.median(values) / np.median(base):.2f}"


def _check_threads(runs: Mapping[str, Sequence[Figures]]) -> None:
    threads = {name: run.get("threads") for name, results in runs.items() for run in results}
    if len(set(threads.values())) > 1:
        raise ConfigError(f"commands use different threads: {threads}; give all the same number")
