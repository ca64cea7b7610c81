"""Commands that take turns, each in a process of its own: A B A B, so that a busy machine slows all of them alike.

A command prints a line of JSON with its figures last; `threads` must be the same in all.
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
    """Lines with the median of each figure, its spread over the rounds and the ratio to that of `against` (None: the
    first command), a Markdown table that `out` gets too. `commands` is a YAML file of `NAME: COMMAND`.

    Raises ConfigError where a command fails, prints no figures, or runs on other threads than the first one.
    """
    named = OmegaConf.to_container(OmegaConf.load(commands), resolve=True)
    if not isinstance(named, dict) or not named:
        raise ConfigError(f"commands={commands} names no commands; write a line NAME: COMMAND for each")
    lines = compare_commands({str(name): str(command) for name, command in named.items()}, rounds, against, figures)
    if out is not None:
        write_text(Path(out), "\n".join(lines) + "\n")
    return lines


def compare_commands(
    commands: Mapping[str, str], rounds: int, against: str | None, figures: Sequence[str]
) -> list[str]:
    """The table."""
    base = against or next(iter(commands))
    if base not in commands:
        raise ConfigError(f"against={base} is none of {', '.join(commands)}")
    runs: dict[str, list[Figures]] = {name: [] for name in commands}
    before = describe_load()
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(run_peer_command(name, command))
            _check_threads(runs)
    return [
        *format_peer_table(runs, figures, base),
        "",
        f"{rounds} rounds in turn; {before} before, {describe_load()} after",
    ]


def run_peer_command(name: str, command: str) -> Figures:
    """The figures that a command prints last."""
    done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was printed").splitlines()[-1]
        raise ConfigError(f"commands.{name} ended with status {done.returncode} and no line of JSON: {said}")
    figures: Figures = json.loads(lines[-1])
    return figures


def format_peer_table(runs: Mapping[str, Sequence[Figures]], figures: Sequence[str], base: str) -> list[str]:
    """A row a figure, a column a command: median (lowest-highest) and × that of `base`; – where it was not measured."""
    rows = [["", *runs], ["---"] * (len(runs) + 1)]
    for figure in figures:
        found = {name: [run[figure] for run in done if figure in run] for name, done in runs.items()}
        rows.append([figure, *(_cell(values, found[base]) for values in found.values())])
    rows.append(["threads", *(str(done[0].get("threads")) for done in runs.values())])
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(values: Sequence[float], base: Sequence[float]) -> str:
    if not values:
        return "–"
    spread = f"{np.median(values):,.4g} ({min(values):,.4g}-{max(values):,.4g})"
    return spread if not base or values is base else f"{spread}, × {np.median(values) / np.median(base):.2f}"


def _check_threads(runs: Mapping[str, Sequence[Figures]]) -> None:
    threads = {name: run.get("threads") for name, done in runs.items() for run in done}
    if len(set(threads.values())) > 1:
        raise ConfigError(f"commands run on different threads: {threads}; give all the same")
