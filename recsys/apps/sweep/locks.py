"""Files that one process holds at a time; the system lets go of them when the process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock


class FileLock(JournalFileOpenLock):
    """Also what Optuna's journal takes: its own lock outlives a process that was killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self, wait: bool = True) -> bool:
        """Whether the file is held now; waits for it unless told not to."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let go."""
        assert self._file is not None
        os.close(self._file)
        self._file = None


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """A block that one process at a time is in."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
