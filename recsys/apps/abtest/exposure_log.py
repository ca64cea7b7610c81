"""The exposure log: the lists that customers were shown, one JSON object per line.

Keys: `time` (seconds since 1970, UTC), `unit` (raw id or keyed hash; null if the request named no customer), `test`
and `variant` (null outside a test), `items` in the order shown and, if they apply, `chances` (for each item its
probability at its position, from exploring rules) and `teams` (for each item the variant whose ranking it comes from).

Standard library only.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
PER_ITEM = {"chances": "chance", "teams": "team"}


def append_exposures(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Add the records in one write, so that several processes may share a file."""
    lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    with path.open("ab", buffering=0) as file:
        file.write(lines.encode())


def read_exposures(path: str | Path) -> Iterator[dict[str, Any]]:
    """The records; lines cut by a full disk or a crash are skipped with a warning."""
    n_broken = 0
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
                yield {"unit": record["unit"], "items": record["items"], **record}
            except (ValueError, KeyError, TypeError):
                n_broken += 1
    if n_broken:
        log.warning("%s lines of '%s' are not exposures and were skipped", f"{n_broken:,}", path)


def read_shown_items(path: str | Path) -> Iterator[dict[str, Any]]:
    """One row per item shown: time, unit, test, variant, item, place (from 0), and chance and team where logged."""
    for record in read_exposures(path):
        common = {name: record.get(name) for name in ("time", "unit", "test", "variant")}
        for position, item in enumerate(record["items"]):
            details = {column: record[key][position] for key, column in PER_ITEM.items() if key in record}
            yield {**common, "item": item, "place": position, **details}


def read_variants_by_unit(path: str | Path, test: str) -> dict[str, set[str]]:
    """The variants that each unit saw in the test; more than one is a fault."""
    variants: dict[str, set[str]] = {}
    for record in read_exposures(path):
        if record.get("test") == test and record["unit"] is not None and record.get("variant") is not None:
            variants.setdefault(record["unit"], set()).add(record["variant"])
    return variants
