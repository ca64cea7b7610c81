"""A process that sends requests to a server as fast as it answers, for some seconds, on connections that stay open.

`python -m recsys.apps.benchmark.load_client PORT SECONDS CONNECTIONS` reads requests from stdin as a JSON list of
[method, path, body]. It prints the answers per second, how many did not have status 200, and the median and 99th
percentile of the response time in milliseconds.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from typing import cast

import numpy as np
from typing_extensions import override


class LoadConnection(asyncio.Protocol):
    """One connection, which sends the next request when the last answer is complete."""

    def __init__(self, requests: Iterator[bytes], end: float, ms: list[float], failed: list[bytes]) -> None:
        self.requests, self.end, self.ms, self.failed = requests, end, ms, failed
        self.closed = asyncio.get_running_loop().create_future()
        self.answer = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    @override
    def data_received(self, data: bytes) -> None:
        self.answer += data
        head, separator, body = self.answer.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        self.ms.append((time.perf_counter() - self.start) * 1e3)
        if b" 200 " not in head.split(b"\r\n")[0]:
            self.failed.append(self.answer)
        if time.perf_counter() < self.end:
            self._send()
        else:
            self.transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if exc or time.perf_counter() < self.end:  # an answer that did not come is a failure
            self.failed.append(str(exc).encode())
        self.closed.set_result(None)

    def _send(self) -> None:
        self.answer, self.start = b"", time.perf_counter()
        self.transport.write(next(self.requests))


def encode_request(method: str, path: str, body: object) -> bytes:
    """Returns the bytes of a request."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def send_requests(port: int, seconds: float, connections: int, requests: list[bytes]) -> dict[str, float]:
    """Returns the figures that this module prints."""
    ms: list[float] = []
    failed: list[bytes] = []
    endless, end = cycle(requests), time.perf_counter() + seconds
    loop = asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda: LoadConnection(endless, end, ms, failed), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.wait_for(asyncio.gather(*(connection.closed for _, connection in pairs)), seconds + 30)
    median, slow = np.percentile(ms, [50, 99])
    return {"per_second": len(ms) / seconds, "failed": len(failed), "median_ms": median, "p99_ms": slow}


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    requests = [encode_request(*request) for request in json.load(sys.stdin)]
    print(json.dumps(asyncio.run(send_requests(port, seconds, connections, requests))))  # noqa: T201
