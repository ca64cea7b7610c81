"""Requests per second over HTTP, in alternation with the same server's endpoint that computes nothing.

The load comes from a second process on the same machine.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from recsys.apps.benchmark.timing import describe_load
from recsys.serving.recommender import Recommender

ROOT = Path(__file__).parents[3]


def measure(artefact: str, connections: int, seconds: float, rounds: int) -> list[str]:
    """Returns lines with both rates, their ratio, response times and failures."""
    rng = np.random.default_rng(0)
    items = Recommender(artefact).recommend(k=1000).items
    requests = [["POST", "/recommend", {"history": rng.choice(items, 50).tolist(), "k": 10}] for _ in range(256)]
    health = [["GET", "/health", None]]
    lines, ratios = [], []
    with run_server(artefact) as (port, process):
        for _ in range(rounds):
            cpu = [_read_cpu_seconds(process)]
            idle = run_load_client(port, connections, seconds, health)
            cpu.append(_read_cpu_seconds(process))
            busy = run_load_client(port, connections, seconds, requests)
            cpu.append(_read_cpu_seconds(process))
            idle_ms, busy_ms = np.diff(cpu) * 1e3 / (seconds * np.array([idle["per_second"], busy["per_second"]]))
            ratios.append(busy["per_second"] / idle["per_second"])
            lines.append(
                f"/health {idle['per_second']:,.0f}/s ({idle_ms:.3f} CPU-ms), /recommend {busy['per_second']:,.0f}/s "
                f"({busy_ms:.3f} CPU-ms, median {busy['median_ms']:.1f} ms, 99% {busy['p99_ms']:.1f} ms), "
                f"ratio {ratios[-1]:.2f}, failed {idle['failed'] + busy['failed']}"
            )
    return [*lines, f"median ratio {np.median(ratios):.2f} with {connections} connections", describe_load()]


def find_free_port() -> int:
    """Returns a port of this machine that no process listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def run_server(artefact: str | Path, *settings: str) -> Iterator[tuple[int, int]]:
    """A context with a running server; gives its port and process id."""
    port = find_free_port()
    words = [f"artefact={Path(artefact).absolute()}", f"port={port}", *settings]
    command = [sys.executable, "-W", "ignore", "-m", "recsys.cli.main", "serve", *words]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                with urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                    break
            except URLError:
                time.sleep(0.1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def run_load_client(port: int, connections: int, seconds: float, requests: list[Any]) -> dict[str, float]:
    """Returns the figures that `load_client` prints for [method, path, body] requests."""
    command = [sys.executable, "-m", "recsys.apps.benchmark.load_client", str(port), str(seconds), str(connections)]
    client = subprocess.run(command, cwd=ROOT, input=json.dumps(requests), capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(client.stdout)
    return figures


def _read_cpu_seconds(process: int) -> float:
    """Returns the CPU seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
