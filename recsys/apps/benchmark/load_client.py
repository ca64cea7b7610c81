"""A process that asks a server as fast as it answers, for bounded seconds, on connections that stay open.

`python -m recsys.apps.benchmark.load_client PORT SECONDS CONNECTIONS` reads requests from stdin as a JSON list of
[method, path, body] and prints how many were answered, how many not with 200,
and the median and 99th percentile of milliseconds.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from typing import cast

import numpy as np


class LoadConnection(asyncio.Protocol):
    """One connection: the next request goes out when the last answer is complete."""

    def __init__(self, requests: Iterator[bytes], end: float, ms: list[float], failed: list[bytes]) -> None:
        self.requests, self.end, self.ms, self.failed = requests, end, ms, failed
        self.closed = asyncio.get_running_loop().create_future()
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first."""
        self.transport = cast(asyncio.Transport, transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Count a complete answer and ask the next."""
        self.answer += data
        head, found, body = self.answer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        self.ms.append((time.perf_counter() - self.start) * 1e3)
        if b" 200 " not in head.split(b"\r\n")[0]:
            self.failed.append(self.answer)
        if time.perf_counter() < self.end:
            self._ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that it is over; an answer that did not come is a failure."""
        if error or time.perf_counter() < self.end:
            self.failed.append(str(error).encode())
        self.closed.set_result(None)

    def _ask(self) -> None:
        self.answer, self.start = b"", time.perf_counter()
        self.transport.write(next(self.requests))


def encode_request(method: str, path: str, body: object) -> bytes:
    """The bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def send_requests(port: int, seconds: float, connections: int, requests: list[bytes]) -> dict[str, float]:
    """What came of it."""
    ms: list[float] = []
    failed: list[bytes] = []
    endless, end = cycle(requests), time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: LoadConnection(endless, end, ms, failed), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.wait_for(asyncio.gather(*(asking.closed for _, asking in made)), seconds + 30)
    median, slow = np.percentile(ms, [50, 99])
    return {"per_second": len(ms) / seconds, "failed": len(failed), "median_ms": median, "p99_ms": slow}


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    requests = [encode_request(*request) for request in json.load(sys.stdin)]
    print(json.dumps(asyncio.run(send_requests(port, seconds, connections, requests))))  # noqa: T201
