"""Shadow mode: a second file is asked what the first was, after that has answered; its lists go to a log alone."""

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
    """A part of the server. A line of JSON a question goes to the file `lines`: both lists, the share of the served one
    that is in the other, or why there is no other; never who asked or after what. `waiting` answers are compared at a
    time, more are served without a line.
    """

    def __init__(self, artefact: str, lines: str = "shadow.jsonl", threads: int = 1, waiting: int = 64) -> None:
        self.artefact, self.lines, self.waiting = ModelFile(Path(artefact), threads), Path(lines), waiting
        self._thread = ThreadPoolExecutor(1, "shadow")
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, asked: list[RecommendRequest], then: CallNext) -> list[RecommendResponse]:
        """The answers of `then`, as they are."""
        answers = await then(asked)
        if len(self._tasks) < self.waiting:
            served = [list(answer.items) for answer in answers]  # other parts may change them
            task = asyncio.create_task(self._compare(asked, served))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return answers

    async def _compare(self, asked: list[RecommendRequest], served: list[list[str]]) -> None:
        try:
            if self.artefact.has_changed():
                await self.artefact.reload()
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._write, self.artefact.recommender, asked, served)
        except Exception as error:
            log.error("no shadow", extra={"reason": str(error)})

    def _write(self, recommender: Recommender, asked: list[RecommendRequest], served: list[list[str]]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        found = [{"time": now, **compared(recommender, *each)} for each in zip(asked, served, strict=True)]
        with self.lines.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in found))


def compared(recommender: Recommender, asked: RecommendRequest, served: list[str]) -> dict[str, Any]:
    """What a line says but for the time."""
    try:
        question, allow = check_request(recommender, asked)
        items = recommender.answer([question], allow)[0].items
    except RequestError as error:  # a file with other inputs
        return {"served": served, "error": str(error)}
    return {"served": served, "shadow": items, "overlap": len({*served} & {*items}) / max(len(served), 1)}
