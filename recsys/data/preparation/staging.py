"""Folders that appear whole or not at all: written under a temporary name, then renamed."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from recsys.errors import DataError

DAY = 86_400
"""seconds"""


@contextmanager
def stage_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name when the block ends without an error."""
    if path.exists():
        raise DataError(f"'{path}' is not a complete dataset: it lacks metadata.json; delete that folder")
    work = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        work.mkdir(parents=True)
        yield work
        try:
            work.rename(path)
        except OSError:
            if not (path / "metadata.json").exists():  # else another process was faster
                raise
    except OSError as error:
        raise DataError(
            f"dataset '{path}' cannot be written ({error}); free disk space or choose another data.folder"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary folders of `path` that killed processes left, once they are unchanged for a day."""
    for folder in path.parent.glob(f".{path.name}-*"):
        with suppress(FileNotFoundError):  # another process removes it at the same time
            if max(file.stat().st_mtime for file in (folder, *folder.rglob("*"))) < time.time() - DAY:
                shutil.rmtree(folder, ignore_errors=True)
