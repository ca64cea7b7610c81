"""The model file of a server: loaded, checked with its golden request, and reloaded when it is replaced."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from recsys.serving.erasure_marks import find_mark
from recsys.serving.file_version import FileVersion, read_file_version
from recsys.serving.recommender import Recommender, RequestError

log = logging.getLogger(__name__)


class ModelFile:
    """A path and the recommender loaded from it last. Raises RequestError and RuntimeError for an unusable file."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = path, threads
        self.on_reload: Callable[[], object] = lambda: None
        """called after each reload"""
        self._version: FileVersion | None = None
        self.recommender = self._load()
        self._lock = asyncio.Lock()

    async def reload(self) -> None:
        """Load the path again. The current recommender answers until the new one has passed its golden request, and
        stays if loading raises.
        """
        async with self._lock:
            self.recommender = await asyncio.to_thread(self._load)
        self.on_reload()
        log.info("reloaded", extra={"path": str(self.path)})

    async def watch(self, seconds: float) -> None:
        """Reload whenever the file was replaced; a file that cannot be loaded is tried once. Never returns."""
        while True:
            await asyncio.sleep(seconds)
            if not self.has_changed():
                continue
            try:
                await self.reload()
            except Exception as error:
                log.error("not reloaded", extra={"path": str(self.path), "reason": str(error)})

    def has_changed(self) -> bool:
        """Return whether the file was replaced since it was loaded; False while it is missing."""
        return read_file_version(self.path) not in (None, self._version)

    def _load(self) -> Recommender:
        self._version = read_file_version(self.path)
        mark = find_mark(self.path)
        if mark == "refused":
            raise RequestError(f"'{self.path}' holds the id of a user who was erased; train and export again")
        if mark == "learned":
            log.warning("the file learned from a user who was erased: train again", extra={"path": str(self.path)})
        recommender = Recommender(self.path, self.threads)
        recommender.self_test()
        return recommender
