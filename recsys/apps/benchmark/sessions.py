"""From a click to the next list on this machine: `POST /events`, then `POST /recommend`.

Clicks come from a second process at a fixed rate, which does not wait for slow answers.
`python -m recsys.apps.benchmark.sessions PORT CLICKS_PER_SECOND` reads clicks from stdin as a JSON list of [event,
request] and prints for each what `send_clicks` returns.
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
    """Returns lines with percentiles of the time from a click to the list after it, and failures."""
    rng = np.random.default_rng(0)
    items = Recommender(artefact).recommend(k=1000).items
    clicks = [_make_click(rng, items, customers) for _ in range(int(rate / 2 * seconds))]
    with _run_store(store) as words, run_server(artefact, *words) as (port, _):
        command = [sys.executable, "-m", "recsys.apps.benchmark.sessions", str(port), str(rate / 2)]
        client = subprocess.run(command, cwd=ROOT, input=json.dumps(clicks), capture_output=True, text=True, check=True)
    results = json.loads(client.stdout)
    n_known = sum(isinstance(session, int) and session > 0 for _, _, session in results)
    return [
        f"{rate:.0f} requests/s for {seconds:.0f} s, sessions in {store}",
        f"click to new list: {_format_percentiles([click_ms for click_ms, _, _ in results])}",
        f"two requests for /health after it: {_format_percentiles([health_ms for _, health_ms, _ in results])}",
        f"{n_known:,} of {len(clicks):,} lists used the click",
        describe_load(),
    ]


def _format_percentiles(ms: list[float]) -> str:
    half, most, slowest = np.percentile(ms, [50, 95, 99])
    return f"median {half:.1f} ms, 95% {most:.1f} ms, 99% {slowest:.1f} ms"


def _make_click(rng: np.random.Generator, items: list[str], customers: int) -> Click:
    """Returns an event of a customer and the request that follows it, with a history of 50."""
    customer = f"customer {rng.integers(customers)}"
    history = rng.choice(items, 50).tolist()
    event = {"customer": customer, "events": [{"item": str(rng.choice(items))}]}
    return event, {"customer": customer, "history": history, "k": 10}


@contextmanager
def _run_store(store: str) -> Iterator[list[str]]:
    """A context with the server's settings for a store; starts Redis if the store is one."""
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
    """One connection that stays open and sends one request after the other."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Returns the JSON of the answer."""
        if self.streams is None or self.streams[0].at_eof():  # the server closes connections that are idle for long
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(encode_request(method, path, body))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer: dict[str, Any] = json.loads(await reader.readexactly(length))
        return answer


async def send_clicks(port: int, rate: float, clicks: list[Click]) -> list[tuple[float, float, Any]]:
    """Returns for each click the milliseconds until its list, those of two requests that compute nothing, and how many
    events of the session the list used.
    """
    idle: list[KeepAliveConnection] = []

    async def send_click(number: int, event: dict[str, Any], request: dict[str, Any]) -> tuple[float, float, Any]:
        await asyncio.sleep(start + number / rate - time.perf_counter())
        connection = idle.pop() if idle else KeepAliveConnection(port)
        clicked = time.perf_counter()
        await connection.send("POST", "/events", event)
        answer = await connection.send("POST", "/recommend", request)
        listed = time.perf_counter()
        for _ in range(2):
            await connection.send("GET", "/health")
        idle.append(connection)
        return (listed - clicked) * 1e3, (time.perf_counter() - listed) * 1e3, answer.get("about", {}).get("session")

    start = time.perf_counter() + 0.5
    return await asyncio.gather(*(send_click(number, *click) for number, click in enumerate(clicks)))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(send_clicks(int(sys.argv[1]), float(sys.argv[2]), json.load(sys.stdin)))))  # noqa: T201
