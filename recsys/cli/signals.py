"""Exit statuses of interrupted commands, and the line that says how to resume."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INTERRUPTED, TERMINATED, BROKEN_PIPE = (128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))
"""exit statuses that a shell reports for processes ended by these signals"""


@contextmanager
def report_how_to_resume(folder: Path) -> Iterator[None]:
    """A context that ends after Ctrl-C or SIGTERM with one line on how to resume the run, and status 130 or 143."""

    def exit_terminated(*_: object) -> None:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, exit_terminated)
    try:
        yield
    except KeyboardInterrupt:
        _exit_with_hint(folder, INTERRUPTED)
    except SystemExit as end:
        if end.code != TERMINATED:
            raise
        _exit_with_hint(folder, TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_on_closed_pipe() -> None:
    """Exit like other commands whose output is no longer read, as in `recsys … | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python reports the error again at exit
    sys.exit(BROKEN_PIPE)


def _exit_with_hint(folder: Path, status: int) -> None:
    sys.stderr.write(f"stopped; resume with: recsys train resume={folder}\n")
    sys.exit(status)
