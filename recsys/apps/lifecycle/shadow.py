"""Shadow mode: after the served file has answered, a second one answers the same requests, for a log only."""

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys.serving.model_file import ModelFile
from recsys.serving.recommender import Recommender, RequestError
from recsys.serving.schemas import CallNext, RecommendRequest, RecommendResponse, check_request

log = logging.getLogger(__name__)


class Shadow:
    """A middleware that appends one JSON line per request to the file `lines`.

    A line has both lists and the fraction of the served one that is in the other, or why there is no other list; never
    the customer or the request. At most `waiting` answers wait to be compared; further ones are served without a line.
    """

    def __init__(self, artefact: str, lines: str = "shadow.jsonl", threads: int = 1, waiting: int = 64) -> None:
        self.model_file, self.log_path, self.waiting = ModelFile(Path(artefact), threads), Path(lines), waiting
        self._thread = ThreadPoolExecutor(1, "shadow")
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, requests: list[RecommendRequest], call_next: CallNext) -> list[RecommendResponse]:
        """Returns the answers of `call_next` unchanged."""
        answers = await call_next(requests)
        if len(self._tasks) < self.waiting:
            served = [list(answer.items) for answer in answers]  # other middleware may change them
            task = asyncio.create_task(self._compare(requests, served))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return answers

    async def _compare(self, requests: list[RecommendRequest], served: list[list[str]]) -> None:
        try:
            if self.model_file.has_changed():
                await self.model_file.reload()
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._write, self.model_file.recommender, requests, served)
        except Exception as error:
            log.error("shadow failed", extra={"reason": str(error)})

    def _write(self, recommender: Recommender, requests: list[RecommendRequest], served: list[list[str]]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        pairs = zip(requests, served, strict=True)
        lines = [{"time": now, **compare_answers(recommender, *pair)} for pair in pairs]
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))


def compare_answers(recommender: Recommender, request: RecommendRequest, served: list[str]) -> dict[str, Any]:
    """Returns the fields of a log line except the time."""
    try:
        question, allow = check_request(recommender, request)
        items = recommender.answer([question], allow)[0].items
    except RequestError as error:  # a file with other inputs
        return {"served": served, "error": str(error)}
    return {"served": served, "shadow": items, "overlap": len({*served} & {*items}) / max(len(served), 1)}
