"""Names, texts and paths as DuckDB's SQL writes them."""

import re
from pathlib import Path


def quoted_name(column: str) -> str:
    """A column's name."""
    escaped = column.replace('"', '""')
    return f'"{escaped}"'


def quoted_text(text: str) -> str:
    """A text."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def literal_path(path: Path) -> str:
    """The path as DuckDB reads it, where * ? [ would stand for other files."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def json_value(key: str) -> str:
    """The value of a key as text; an error, once it is read, if it is a list or an object."""
    pointer = quoted_text("/" + key.replace("~", "~0").replace("/", "~1"))
    complaint = quoted_text(f"column '{key}' holds lists or objects, not one value")
    nested = f"json_type(json, {pointer}) IN ('ARRAY', 'OBJECT')"
    return f"CASE WHEN {nested} THEN error({complaint}) ELSE json ->> {pointer} END"
