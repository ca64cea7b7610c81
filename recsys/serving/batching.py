"""Dynamic batching: requests that wait while the model is busy are answered by its next call; none waits for others."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from recsys.serving.recommender import CheckedRequest, Recommendation, Recommender


class QueueFullError(RuntimeError):
    """The queue holds as many requests as it may."""


class QueuedRequest(NamedTuple):
    """A request and the recommender that checked it, which answers it even if the file is swapped meanwhile."""

    recommender: Recommender
    request: CheckedRequest
    allow: list[str]
    future: asyncio.Future[Recommendation]


class Batcher:
    """Answers requests in batches, on a thread of its own.

    A batch holds at most `max_batch` requests for one file with equal `allow`. At most `max_waiting` requests wait.
    `on_batch` is called with the size of each batch.
    """

    def __init__(self, max_batch: int, max_waiting: int, on_batch: Callable[[int], object] = int) -> None:
        self.max_batch, self.max_waiting, self.on_batch = max_batch, max_waiting, on_batch
        self._queue: deque[QueuedRequest] = deque()
        self._thread = ThreadPoolExecutor(1, "answers")
        self._worker: asyncio.Task[None] | None = None

    async def answer(
        self, recommender: Recommender, requests: Sequence[tuple[CheckedRequest, list[str]]]
    ) -> list[Recommendation]:
        """Return one recommendation per (request, allow), in order; raises QueueFullError."""
        if len(self._queue) + len(requests) > self.max_waiting:
            raise QueueFullError(f"{len(self._queue)} requests are waiting already; try again later")
        loop = asyncio.get_running_loop()
        queued = [QueuedRequest(recommender, request, allow, loop.create_future()) for request, allow in requests]
        self._queue.extend(queued)
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return [await entry.future for entry in queued]

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch = self._take_batch()
            try:
                recommendations = await loop.run_in_executor(self._thread, _run_batch, batch)
            except Exception as error:
                for entry in batch:
                    if not entry.future.done():
                        entry.future.set_exception(error)
                continue
            self.on_batch(len(batch))
            for entry, recommendation in zip(batch, recommendations, strict=True):
                if not entry.future.done():  # a client that disconnects cancels its future
                    entry.future.set_result(recommendation)
        self._worker = None

    def _take_batch(self) -> list[QueuedRequest]:
        """Remove and return the oldest request and those that fit with it; the others keep their order."""
        first, remaining = self._queue[0], deque[QueuedRequest]()
        batch: list[QueuedRequest] = []
        while self._queue:
            entry = self._queue.popleft()
            fits = entry.recommender is first.recommender and entry.allow == first.allow
            (batch if fits and len(batch) < self.max_batch else remaining).append(entry)
        self._queue = remaining
        return batch


def _run_batch(batch: list[QueuedRequest]) -> list[Recommendation]:
    return batch[0].recommender.answer([entry.request for entry in batch], batch[0].allow)
