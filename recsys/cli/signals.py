"""Exit statuses that scripts can tell apart, and a stop from outside that says how to go on."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INTERRUPTED, TERMINATED, BROKEN_PIPE = (128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))
"""what a shell says of a process that these signals ended"""


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """A block whose run can be gone on with: after Ctrl-C or SIGTERM one line says how, and the status tells which."""

    def terminated(*_: object) -> None:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    except KeyboardInterrupt:
        _leave(folder, INTERRUPTED)
    except SystemExit as end:
        if end.code != TERMINATED:
            raise
        _leave(folder, TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_on_closed_pipe() -> None:
    """End as other commands do whose output nobody reads any more, such as in `recsys … | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain once more at the end
    sys.exit(BROKEN_PIPE)


def _leave(folder: Path, status: int) -> None:
    sys.stderr.write(f"stopped; go on with: recsys train resume={folder}\n")
    sys.exit(status)
