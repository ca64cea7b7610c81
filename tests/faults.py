"""What `recsys train` answers to faulty input: `python -m tests.faults > docs/faults.md`."""

import contextlib
import io
import logging
import re
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pandas as pd

from recsys.cli.main import run_command
from tests.fault_cases import COUNTED, REFUSED, Fault, csv
from tests.planted import START

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Answer:
    """All that the command printed, the line that matters, the exit status."""

    text: str
    line: str
    code: int


def ask(fault: Fault, folder: Path) -> Answer:
    """The command's answer to a fault, run in an empty folder."""
    if isinstance(fault.log, pd.DataFrame):
        kind, path = "parquet", folder / "log.parquet"
        fault.log.to_parquet(path)
    else:
        kind, path = "csv", folder / "log.csv"
        path.write_bytes(fault.log if isinstance(fault.log, bytes) else fault.log.encode())
    words = ["model=popularity", "baselines=none", "logger=none", "ks=[5]", "data.exclude_seen=false"]
    paths = [f"data.path={path.name}", "data.folder=data", "hydra.run.dir=run"]
    with contextlib.chdir(folder):
        text, code = said([f"data={kind}", *words, *paths, *fault.words])
    lines = [line for line in text.splitlines() if line.startswith("error: ") or " read, " in line]
    return Answer(text, lines[-1].replace(f"{folder}/", ""), code)


def said(words: list[str]) -> tuple[str, int]:
    """What `recsys train WORDS` logs and prints, and its exit status."""
    out, root = io.StringIO(), logging.getLogger()
    handler, level, code = logging.StreamHandler(out), root.level, 0
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with (
            mock.patch.object(sys, "argv", ["recsys train", *words]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            run_command("train")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        out.write(f"{end.code}\n")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return out.getvalue(), code


def full_disk(folder: Path) -> Answer:
    """The command's answer where no file may have more than 64 KiB."""
    (folder / "log.csv").write_text(csv([(f"u{n % 997}", f"i{n * n % 8999}", START + n) for n in range(50_000)]))
    words = [
        "data=csv",
        "data.path={}/log.csv",
        "data.folder={}/data",
        "hydra.run.dir={}/run",
        "model=popularity",
        "export=false",
    ]
    found = limited([ROOT / "scripts" / "train.py", *(word.format(folder) for word in words)], 64 * 1024)
    return Answer(found.stderr, found.stderr.splitlines()[-1].replace(f"{folder}/", ""), found.returncode)


def limited(words: list[str | Path], size: int) -> subprocess.CompletedProcess[str]:
    """Python run with files of at most `size` bytes."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def row(name: str, answer: Answer) -> str:
    """A line of the table; names of files that differ from run to run are shortened."""
    line = re.sub(r"-[0-9a-f]{16,32}", "-…", answer.line).replace("|", "\\|")
    return f"| {name} | {line} | {answer.code} |\n"


HEAD = """# Faulty input

What `recsys train` answers, printed by `python -m tests.faults` and held by `tests/test_faults.py`. A run that is
refused leaves no partial file and no run folder.

| input | answer | exit code |
|---|---|---|
"""


def main() -> None:
    """Print the whole page."""
    rows = [HEAD]
    for fault in (*REFUSED, *COUNTED):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(fault.name, ask(fault, Path(folder))))
    with tempfile.TemporaryDirectory() as folder:
        rows.append(row("a disk that fills up (no file above 64 KiB)", full_disk(Path(folder))))
    sys.stdout.write("".join(rows))


if __name__ == "__main__":
    main()
