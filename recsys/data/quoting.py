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
