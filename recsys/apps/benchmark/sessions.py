"""From a click to the next list on this machine: `POST /events`, then `POST /recommend`, at a rate that does not wait
for slow answers, from a process of its own.

`python -m recsys.apps.benchmark.sessions PORT CLICKS_A_SECOND` reads clicks from stdin as a JSON list of [event,
question] and prints for each what `click_all` found.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from recsys.apps.benchmark.http import ROOT, find_free_port, run_server
from recsys.apps.benchmark.load_client import encode_request
from recsys.apps.benchmark.timing import describe_load
from recsys.errors import ConfigError
from recsys.serving.recommender import Recommender

Click = tuple[dict[str, Any], dict[str, Any]]


def measure(artefact: str, store: str, rate: float, seconds: float, customers: int) -> list[str]:
    """Lines with percentiles of the time from a click to the list after it, and what failed."""
    rng = np.random.default_rng(0)
    items = Recommender(artefact).recommend(k=1000).items
    clicks = [_click(rng, items, customers) for _ in range(int(rate / 2 * seconds))]
    with _started(store) as words, run_server(artefact, *words) as (port, _):
        command = [sys.executable, "-m", "recsys.apps.benchmark.sessions", str(port), str(rate / 2)]
        done = subprocess.run(command, cwd=ROOT, input=json.dumps(clicks), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    knew = sum(isinstance(session, int) and session > 0 for _, _, session in found)
    return [
        f"{rate:.0f} requests/s for {seconds:.0f} s, sessions in {store}",
        f"click to new list: {_percentiles([click for click, _, _ in found])}",
        f"two requests for /health beside it: {_percentiles([idle for _, idle, _ in found])}",
        f"{knew:,} of {len(clicks):,} lists knew the click",
        describe_load(),
    ]


def _percentiles(ms: list[float]) -> str:
    half, most, slowest = np.percentile(ms, [50, 95, 99])
    return f"median {half:.1f} ms, 95 % {most:.1f} ms, 99 % {slowest:.1f} ms"


def _click(rng: np.random.Generator, items: list[str], customers: int) -> Click:
    """An event of somebody, and the question that follows it, after a history of 50."""
    customer = f"customer {rng.integers(customers)}"
    history = rng.choice(items, 50).tolist()
    event = {"customer": customer, "events": [{"item": str(rng.choice(items))}]}
    return event, {"customer": customer, "history": history, "k": 10}


@contextmanager
def _started(store: str) -> Iterator[list[str]]:
    """The server's settings for a store, which is started where it is a Redis."""
    if store != "redis":
        yield [f"sessions={store}"]
        return
    if shutil.which("redis-server") is None:
        raise ConfigError("store=redis needs redis-server; run: apt-get install redis-server")
    port = find_free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        yield ["sessions=redis", f"parts.sessions.url=redis://127.0.0.1:{port}/0"]
    finally:
        process.terminate()
        process.wait()


class KeepAliveConnection:
    """One connection that stays open, asked one request after the other."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer, or why there is none."""
        if self.streams is None or self.streams[0].at_eof():  # the server closes what was idle for long
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(encode_request(method, path, body))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found: dict[str, Any] = json.loads(await reader.readexactly(length))
        return found


async def send_clicks(port: int, rate: float, clicks: list[Click]) -> list[tuple[float, float, Any]]:
    """For each click milliseconds until its list, those of two requests that compute nothing, and how many events of
    the session the list knew.
    """
    free: list[KeepAliveConnection] = []

    async def one(place: int, event: dict[str, Any], question: dict[str, Any]) -> tuple[float, float, Any]:
        await asyncio.sleep(start + place / rate - time.perf_counter())
        connection = free.pop() if free else KeepAliveConnection(port)
        clicked = time.perf_counter()
        await connection.ask("POST", "/events", event)
        answer = await connection.ask("POST", "/recommend", question)
        listed = time.perf_counter()
        for _ in range(2):
            await connection.ask("GET", "/health")
        free.append(connection)
        return (listed - clicked) * 1e3, (time.perf_counter() - listed) * 1e3, answer.get("about", {}).get("session")

    start = time.perf_counter() + 0.5
    return await asyncio.gather(*(one(place, *click) for place, click in enumerate(clicks)))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(send_clicks(int(sys.argv[1]), float(sys.argv[2]), json.load(sys.stdin)))))  # noqa: T201
