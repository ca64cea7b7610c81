"""Names, texts and paths as DuckDB's SQL writes them."""

import re
from pathlib import Path


def quote_name(column: str) -> str:
    """A column's name in double quotes."""
    escaped = column.replace('"', '""')
    return f'"{escaped}"'


def quote_text(text: str) -> str:
    """A text in single quotes."""
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def escape_path(path: Path) -> str:
    """The path with * ? [ escaped, which DuckDB would read as a pattern of file names."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def extract_json_value(key: str) -> str:
    """SQL for the value of a key as text; reading a list or an object raises an error."""
    pointer = quote_text("/" + key.replace("~", "~0").replace("/", "~1"))
    complaint = quote_text(f"column '{key}' holds lists or objects, not one value")
    nested = f"json_type(json, {pointer}) IN ('ARRAY', 'OBJECT')"
    return f"CASE WHEN {nested} THEN error({complaint}) ELSE json ->> {pointer} END"
