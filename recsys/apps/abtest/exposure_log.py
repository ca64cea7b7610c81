"""The exposure log: what was shown to whom, one JSON object a line.

`time` (seconds since 1970, UTC), `unit` (raw or pseudonym, null where nobody was named), `test` and `variant` (null
outside a test), `items` as shown and, where they apply, `chances` (for each item how probable it was at its
place, as exploring rules tell) and `teams` (for each item the variant whose ranking it comes from).

Standard library only.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
PER_ITEM = {"chances": "chance", "teams": "team"}


def append(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Add lines in one write, so that processes may share a file."""
    lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    with path.open("ab", buffering=0) as file:
        file.write(lines.encode())


def read(path: str | Path) -> Iterator[dict[str, Any]]:
    """The records; lines that a full disk or a crash cut are left out with a warning."""
    broken = 0
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
                yield {"unit": record["unit"], "items": record["items"], **record}
            except (ValueError, KeyError, TypeError):
                broken += 1
    if broken:
        log.warning("%s lines of '%s' are no exposures and were left out", f"{broken:,}", path)


def places(path: str | Path) -> Iterator[dict[str, Any]]:
    """A row an item shown: time, unit, test, variant, item, place (from 0), and chance and team where logged."""
    for record in read(path):
        shared = {name: record.get(name) for name in ("time", "unit", "test", "variant")}
        for place, item in enumerate(record["items"]):
            own = {one: record[many][place] for many, one in PER_ITEM.items() if many in record}
            yield {**shared, "item": item, "place": place, **own}


def variants(path: str | Path, test: str) -> dict[str, set[str]]:
    """Of each unit that was shown something in the test the variants it saw: more than one is a fault."""
    seen: dict[str, set[str]] = {}
    for record in read(path):
        if record.get("test") == test and record["unit"] is not None and record.get("variant") is not None:
            seen.setdefault(record["unit"], set()).add(record["variant"])
    return seen
