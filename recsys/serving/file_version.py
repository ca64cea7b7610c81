"""Detects that the file at a path was replaced."""

from pathlib import Path

FileVersion = tuple[int, int, int]
"""inode, modification time in nanoseconds, size in bytes"""


def read_file_version(path: Path) -> FileVersion | None:
    """Return the version of the file at the path now; None if the file cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
