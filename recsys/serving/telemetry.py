"""What the server says of itself: a JSON line a request, and Prometheus metrics; never who asked or about what."""

import json
import logging
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        each: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("recsys_requests", "HTTP requests", ["path", "status"], **each)
        self.seconds = Histogram("recsys_request_seconds", "time to answer", ["path"], buckets=SECONDS, **each)
        self.batches = Histogram("recsys_batch_questions", "questions a call of the model", buckets=SIZES, **each)
        self.newcomers = Counter("recsys_newcomers", "questions whose history holds no known item", **each)
        self.unknown = Counter("recsys_unknown_items", "ids of histories that the model does not know", **each)
        self.reloads = Counter("recsys_reloads", "files loaded after the first", **each)


SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Watch:
    """Counts, times and logs every request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", "other")  # paths that do not exist are not counted apart
        self.metrics.requests.labels(path, status).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        said = {"method": scope["method"], "path": path, "status": status, "ms": round(seconds * 1000, 2)}
        log.info("answered", extra=said)


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = {name: value for name, value in vars(record).items() if name not in PLAIN}
        line = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage(), **said}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
