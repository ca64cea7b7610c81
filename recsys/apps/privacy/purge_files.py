"""Takes users out of tables and logs: every row, line or entry that names one of them."""

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys.run import atomic, write_text


class ErasedIds(NamedTuple):
    """Whom to look for: raw ids and pseudonyms, and the columns or keys under which ids stand."""

    names: frozenset[str]
    columns: frozenset[str]

    def named(self, value: Any) -> bool:
        """Whether a value of JSON has one of them under a column, however deep."""
        if isinstance(value, dict):
            own = (str(child) in self.names for key, child in value.items() if key in self.columns)
            return any(own) or any(map(self.named, value.values()))
        return isinstance(value, list) and any(map(self.named, value))

    @property
    def words(self) -> re.Pattern[str]:
        """The names as whole words of a text."""
        return re.compile(_words(self.names))


def _words(names: Iterable[str]) -> str:
    return r"(?<![\w-])(?:" + "|".join(map(re.escape, sorted(names))) + r")(?![\w-])"


def purge_file(path: Path, wanted: ErasedIds) -> int:
    """The number of rows that were taken out of a file, which is written anew if there are any; 1 for a file of a
    user's own, which is deleted. Files of other kinds are left alone.
    """
    if path.suffix not in KINDS:
        return 0
    if path.stem in wanted.names:
        path.unlink()
        return 1
    return KINDS[path.suffix](path, wanted)


def mask_rows_with_ids(path: Path, wanted: ErasedIds) -> pa.Array | None:
    """A mask of the rows of a Parquet file that name one of them; None where no column could."""
    names = [name for name in pq.read_schema(path).names if name in wanted.columns]
    table, mask, known = pq.read_table(path, columns=names), None, pa.array(sorted(wanted.names), pa.string())
    for column in table.columns:
        if not (pa.types.is_nested(column.type) or pa.types.is_binary(column.type)):
            found = pc.is_in(column.cast(pa.string()), value_set=known)
            mask = found if mask is None else pc.or_(mask, found)
    return mask


def _parquet(path: Path, wanted: ErasedIds) -> int:
    mask = mask_rows_with_ids(path, wanted)
    removed = 0 if mask is None else pc.sum(mask).as_py() or 0
    if removed:
        with atomic(path) as temporary:
            pq.write_table(pq.read_table(path).filter(pc.invert(mask)), temporary)
    return int(removed)


def _csv(path: Path, wanted: ErasedIds) -> int:
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    places = [place for place, name in enumerate(rows[0] if rows else ()) if name.strip() in wanted.columns]
    kept = [row for row in rows if not any(row[place : place + 1] and row[place] in wanted.names for place in places)]
    if len(kept) < len(rows):
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(kept)
        with atomic(path) as temporary:
            temporary.write_text(out.getvalue(), encoding="utf-8", errors="surrogateescape")
    return len(rows) - len(kept)


def _lines(path: Path, wanted: ErasedIds) -> int:
    words = wanted.words
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
    kept = [line for line in lines if not _line_names(line, wanted, words)]
    if len(kept) < len(lines):
        with atomic(path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8", errors="surrogateescape")
    return len(lines) - len(kept)


def _line_names(line: str, wanted: ErasedIds, words: re.Pattern[str]) -> bool:
    """Whether a line names one of them: as JSON under a column, as plain text anywhere."""
    try:
        return wanted.named(json.loads(line))
    except ValueError:
        return words.search(line) is not None


def _json(path: Path, wanted: ErasedIds) -> int:
    """Entries of one object under a user's name, or of one list that name a user."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    kept: Any = whole
    if isinstance(whole, dict):
        kept = {name: child for name, child in whole.items() if name not in wanted.names and not wanted.named(child)}
    elif isinstance(whole, list):
        kept = [child for child in whole if not wanted.named(child)]
    if kept == whole:
        return 0
    write_text(path, json.dumps(kept))
    return len(whole) - len(kept)


KINDS: dict[str, Callable[[Path, ErasedIds], int]] = {
    ".parquet": _parquet, ".pq": _parquet, ".csv": _csv, ".tsv": _csv, ".json": _json,
    ".jsonl": _lines, ".ndjson": _lines, ".log": _lines,
}  # fmt: skip


def find_files_with_ids(paths: Collection[Path], names: Collection[str]) -> list[Path]:
    """The files whose bytes hold one of the names as a whole word."""
    if not names:
        return []
    sought = re.compile(_words(names).encode())
    return [path for path in paths if path.is_file() and sought.search(path.read_bytes())]
