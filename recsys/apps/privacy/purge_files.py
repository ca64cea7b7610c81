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
    """What to look for: raw ids and pseudonyms, and the columns or keys that hold user ids."""

    ids: frozenset[str]
    columns: frozenset[str]

    def appear_in(self, value: Any) -> bool:
        """Whether a JSON value has one of the ids under one of the columns, at any depth."""
        if isinstance(value, dict):
            here = (str(child) in self.ids for key, child in value.items() if key in self.columns)
            return any(here) or any(map(self.appear_in, value.values()))
        return isinstance(value, list) and any(map(self.appear_in, value))

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the ids as whole words of a text."""
        return re.compile(_whole_words(self.ids))


def _whole_words(ids: Iterable[str]) -> str:
    return r"(?<![\w-])(?:" + "|".join(map(re.escape, sorted(ids))) + r")(?![\w-])"


def purge_file(path: Path, erased: ErasedIds) -> int:
    """Returns the number of rows removed from a file, which is rewritten if there are any.

    A file that is named after a user is deleted and counts as 1. Files of unknown types stay unchanged.
    """
    if path.suffix not in PURGERS:
        return 0
    if path.stem in erased.ids:
        path.unlink()
        return 1
    return PURGERS[path.suffix](path, erased)


def mask_rows_with_ids(path: Path, erased: ErasedIds) -> pa.Array | None:
    """Returns a mask of the rows of a Parquet file that name one of the users; None if no column can."""
    names = [name for name in pq.read_schema(path).names if name in erased.columns]
    table, mask, ids = pq.read_table(path, columns=names), None, pa.array(sorted(erased.ids), pa.string())
    for column in table.columns:
        if not (pa.types.is_nested(column.type) or pa.types.is_binary(column.type)):
            matches = pc.is_in(column.cast(pa.string()), value_set=ids)
            mask = matches if mask is None else pc.or_(mask, matches)
    return mask


def _purge_parquet(path: Path, erased: ErasedIds) -> int:
    mask = mask_rows_with_ids(path, erased)
    removed = 0 if mask is None else pc.sum(mask).as_py() or 0
    if removed:
        with atomic(path) as temporary:
            pq.write_table(pq.read_table(path).filter(pc.invert(mask)), temporary)
    return int(removed)


def _purge_csv(path: Path, erased: ErasedIds) -> int:
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=header.count)
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    columns = [n for n, name in enumerate(rows[0] if rows else ()) if name.strip() in erased.columns]
    remaining = [row for row in rows if not any(row[n : n + 1] and row[n] in erased.ids for n in columns)]
    if len(remaining) < len(rows):
        out = io.StringIO()
        csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(remaining)
        with atomic(path) as temporary:
            temporary.write_text(out.getvalue(), encoding="utf-8", errors="surrogateescape")
    return len(rows) - len(remaining)


def _purge_lines(path: Path, erased: ErasedIds) -> int:
    pattern = erased.pattern
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
    remaining = [line for line in lines if not _names_user(line, erased, pattern)]
    if len(remaining) < len(lines):
        with atomic(path) as temporary:
            temporary.write_text("".join(remaining), encoding="utf-8", errors="surrogateescape")
    return len(lines) - len(remaining)


def _names_user(line: str, erased: ErasedIds, pattern: re.Pattern[str]) -> bool:
    """Whether a line names one of the users: as JSON under a column, as plain text anywhere."""
    try:
        return erased.appear_in(json.loads(line))
    except ValueError:
        return pattern.search(line) is not None


def _purge_json(path: Path, erased: ErasedIds) -> int:
    """Removes entries of an object under a user's id, or entries of a list that name a user."""
    content = json.loads(path.read_text(encoding="utf-8"))
    remaining: Any = content
    if isinstance(content, dict):
        remaining = {
            name: child for name, child in content.items() if name not in erased.ids and not erased.appear_in(child)
        }
    elif isinstance(content, list):
        remaining = [child for child in content if not erased.appear_in(child)]
    if remaining == content:
        return 0
    write_text(path, json.dumps(remaining))
    return len(content) - len(remaining)


PURGERS: dict[str, Callable[[Path, ErasedIds], int]] = {
    ".parquet": _purge_parquet, ".pq": _purge_parquet, ".csv": _purge_csv, ".tsv": _purge_csv, ".json": _purge_json,
    ".jsonl": _purge_lines, ".ndjson": _purge_lines, ".log": _purge_lines,
}  # fmt: skip


def find_files_with_ids(paths: Collection[Path], ids: Collection[str]) -> list[Path]:
    """Returns the files whose bytes contain one of the ids as a whole word."""
    if not ids:
        return []
    pattern = re.compile(_whole_words(ids).encode())
    return [path for path in paths if path.is_file() and pattern.search(path.read_bytes())]
