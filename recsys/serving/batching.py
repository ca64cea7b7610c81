"""Questions that wait at the same time are answered by one call of the session; none ever waits for company."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from recsys.serving.recommender import Question, Recommendation, Recommender


class FullError(RuntimeError):
    """More questions wait than the queue may hold."""


class Waiting(NamedTuple):
    """A question and whom it was checked by, so that a file that was swapped meanwhile still answers it."""

    recommender: Recommender
    question: Question
    allow: list[str]
    answer: asyncio.Future[Recommendation]


class Batcher:
    """Answers questions on one thread of its own, which takes all that wait whenever it is free.

    Questions of one file with the same `allow` go together, at most `largest` of them. `answered` is told the size of
    each batch.
    """

    def __init__(self, largest: int, waiting: int, answered: Callable[[int], object] = int) -> None:
        self.largest, self.limit, self.answered = largest, waiting, answered
        self._queue: deque[Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, "answers")
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, recommender: Recommender, asked: Sequence[tuple[Question, list[str]]]) -> list[Recommendation]:
        """Answers to questions and their `allow`, in order; raises FullError."""
        if len(self._queue) + len(asked) > self.limit:
            raise FullError(f"{len(self._queue)} questions wait already")
        loop = asyncio.get_running_loop()
        waiting = [Waiting(recommender, question, allow, loop.create_future()) for question, allow in asked]
        self._queue.extend(waiting)
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return [await each.answer for each in waiting]

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch = self._next()
            try:
                found = await loop.run_in_executor(self._thread, _answer, batch)
            except Exception as error:
                for each in batch:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                continue
            self.answered(len(batch))
            for each, answer in zip(batch, found, strict=True):
                if not each.answer.done():  # a client that has left cancels its question
                    each.answer.set_result(answer)
        self._worker = None

    def _next(self) -> list[Waiting]:
        """The oldest question and those that can go with it; the others keep their order."""
        first, rest = self._queue[0], deque[Waiting]()
        batch: list[Waiting] = []
        while self._queue:
            each = self._queue.popleft()
            fits = each.recommender is first.recommender and each.allow == first.allow and len(batch) < self.largest
            (batch if fits else rest).append(each)
        self._queue = rest
        return batch


def _answer(batch: list[Waiting]) -> list[Recommendation]:
    return batch[0].recommender.answer([each.question for each in batch], batch[0].allow)
