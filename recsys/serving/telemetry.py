"""Logs one JSON line per request and keeps Prometheus metrics; neither says who asked, or about which items."""

import json
import logging
import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

log = logging.getLogger(__name__)
STANDARD_FIELDS = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServerMetrics:
    """Prometheus counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._add_counter("recsys_requests", "HTTP requests", "path", "status")
        self.seconds = self._add_histogram("recsys_request_seconds", "time to answer", SECONDS_BUCKETS, "path")
        self.batches = self._add_histogram("recsys_batch_questions", "requests per call of the model", BATCH_BUCKETS)
        self.newcomers = self._add_counter("recsys_newcomers", "requests whose history holds no known item")
        self.unknown = self._add_counter("recsys_unknown_items", "ids in histories that the model does not know")
        self.reloads = self._add_counter("recsys_reloads", "model files loaded after the first")

    def _add_counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self.registry)

    def _add_histogram(self, name: str, description: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, description, labels, registry=self.registry, buckets=buckets)


class TelemetryMiddleware:
    """Counts, times and logs every HTTP request."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, then record its status and the time it took."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, send_and_note_status)
        finally:
            self._record(scope, status, time.perf_counter() - start)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        path = getattr(scope.get("route"), "path", "other")  # all paths that do not exist share one label
        self.metrics.requests.labels(path, status).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        fields = {"method": scope["method"], "path": path, "status": status, "ms": round(seconds * 1000, 2)}
        log.info("answered", extra=fields)


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD_FIELDS}
        line = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage(), **extra}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
