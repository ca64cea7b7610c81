"""Files that one process locks at a time; the system releases them when the process ends, even if it is killed."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock


class FileLock(JournalFileOpenLock):
    """A lock on a file; Optuna's journal accepts it too, whose own lock would outlive a process that was killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self, wait: bool = True) -> bool:
        """Locks the file; returns False if another process holds it and `wait` is false."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Unlocks the file."""
        assert self._file is not None
        os.close(self._file)
        self._file = None


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """A context that only one process at a time is in."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
