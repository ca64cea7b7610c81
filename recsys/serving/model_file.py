"""The file being served: loaded, tested on its golden request, and swapped for a newer one of the same name."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from recsys.serving.erasure_marks import verdict
from recsys.serving.file_version import Stamp, stamp
from recsys.serving.recommender import Recommender, RequestError

log = logging.getLogger(__name__)


class Artefact:
    """One path and what was loaded from it last."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = path, threads
        self.reloaded: Callable[[], object] = lambda: None
        """called whenever another file has taken over"""
        self._stamp: Stamp | None = None
        self.recommender = self._load()
        self._turn = asyncio.Lock()

    async def reload(self) -> None:
        """Load the path again; the old file answers until the new one has passed its test, and goes on where it
        does not: then raises what loading raises.
        """
        async with self._turn:
            self.recommender = await asyncio.to_thread(self._load)
        self.reloaded()
        log.info("reloaded", extra={"path": str(self.path)})

    async def watch(self, seconds: float) -> None:
        """Reload whenever another file has taken the path, for ever; one that cannot be loaded is tried once."""
        while True:
            await asyncio.sleep(seconds)
            if not self.is_stale():
                continue
            try:
                await self.reload()
            except Exception as error:
                log.error("not reloaded", extra={"path": str(self.path), "reason": str(error)})

    def is_stale(self) -> bool:
        """Whether another file has taken the path since."""
        return stamp(self.path) not in (None, self._stamp)

    def _load(self) -> Recommender:
        self._stamp = stamp(self.path)
        marked = verdict(self.path)
        if marked == "refused":
            raise RequestError(f"'{self.path}' holds the id of somebody who was erased; train and export again")
        if marked == "learned":
            log.warning("the file learned from somebody who was erased: train again", extra={"path": str(self.path)})
        recommender = Recommender(self.path, self.threads)
        recommender.self_test()
        return recommender
