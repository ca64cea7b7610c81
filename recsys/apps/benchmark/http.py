"""Requests a second over HTTP beside the same server's endpoint that does nothing, in alternation, the load from a
second process on this machine.
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
    """Lines with both rates, their ratio, times to answer and failures."""
    rng = np.random.default_rng(0)
    items = Recommender(artefact).recommend(k=1000).items
    asked = [["POST", "/recommend", {"history": rng.choice(items, 50).tolist(), "k": 10}] for _ in range(256)]
    nothing = [["GET", "/health", None]]
    said, ratios = [], []
    with run_server(artefact) as (port, process):
        for _ in range(rounds):
            before = _cpu(process)
            idle = _asked(port, connections, seconds, nothing)
            between = _cpu(process)
            real = _asked(port, connections, seconds, asked)
            spent = [(b - a) * 1e3 / (seconds * found["per_second"])
                     for a, b, found in ((before, between, idle), (between, _cpu(process), real))]  # fmt: skip
            ratios.append(real["per_second"] / idle["per_second"])
            said.append(
                f"/health {idle['per_second']:,.0f}/s ({spent[0]:.3f} CPU-ms), /recommend {real['per_second']:,.0f}/s "
                f"({spent[1]:.3f} CPU-ms, median {real['median_ms']:.1f} ms, 99 % {real['p99_ms']:.1f} ms), "
                f"ratio {ratios[-1]:.2f}, failed {idle['failed'] + real['failed']}"
            )
    return [*said, f"median ratio {np.median(ratios):.2f} with {connections} connections", describe_load()]


def find_free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def run_server(artefact: str | Path, *settings: str) -> Iterator[tuple[int, int]]:
    """A server's port and process."""
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


def _asked(port: int, connections: int, seconds: float, requests: list[Any]) -> dict[str, float]:
    command = [sys.executable, "-m", "recsys.apps.benchmark.load_client", str(port), str(seconds), str(connections)]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(requests), capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _cpu(process: int) -> float:
    """CPU seconds that a process has used."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100
