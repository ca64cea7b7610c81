"""The catalogue from a Parquet or CSV file with one row per product."""

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recsys.apps.assistant.catalogue import Catalogue, CatalogueProduct
from recsys.apps.assistant.words import clean_text
from recsys.errors import ConfigError

PRODUCT_COLUMNS = ("item", "title", "price", "category", "stock")


def read_catalogue(path: str, columns: Mapping[str, str | None]) -> Catalogue:
    """The catalogue in a file. `columns` maps `item`, `title`, `price`, `category` and `stock` to the file's columns;
    null means the column of that very name, if there is one. Raises ConfigError.
    """
    table = _read_table(Path(path), columns.get("item") or "item")
    if unknown := set(columns) - set(PRODUCT_COLUMNS):
        names = ", ".join(PRODUCT_COLUMNS)
        raise ConfigError(f"columns.{min(unknown)} is unknown; the catalogue's columns are: {names}")
    names_in_file: dict[str, str] = {}
    for column in PRODUCT_COLUMNS:
        name = columns.get(column) or column
        if name in table:
            names_in_file[column] = name
        elif columns.get(column) or column in ("item", "title"):
            raise ConfigError(f"'{path}' has no column '{name}'; set columns.{column} to one of: {', '.join(table)}")
    return Catalogue(_build_products(table, names_in_file, path))


def _read_table(path: Path, item_column: str) -> dict[str, list[Any]]:
    """The file's values by column, ids as text."""
    import pyarrow as pa

    from recsys.serving.item_table import read_item_table

    if not path.is_file():
        raise ConfigError(f"there is no file '{path}'; catalogue= takes a Parquet or CSV file with one row per product")
    try:
        table = read_item_table(path, item_column)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"'{path}' is not a Parquet or CSV file: {str(error).splitlines()[0]}") from error
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns


def _build_products(table: Mapping[str, list[Any]], names: Mapping[str, str], path: str) -> Iterator[CatalogueProduct]:
    other_columns = [name for name in table if name not in names.values()]
    for n in range(len(table[names["item"]])):
        row = {column: table[name][n] for column, name in names.items()}
        if row["item"] is None:
            raise ConfigError(f"'{path}' has no item in row {n + 1}; every product needs an id")
        yield CatalogueProduct(
            str(row["item"]),
            clean_text(row["title"]) or str(row["item"]),
            _none_if_nan(_read_number("price", row.get("price"), path, n)),
            clean_text(row.get("category")),
            "stock" not in row or _read_number("stock", row["stock"], path, n) > 0,
            {name: value for name in other_columns if (value := _to_json(table[name][n])) is not None},
        )


def _read_number(name: str, value: Any, path: str, n: int) -> float:
    """A cell of row `n` as a number, true as 1; NaN for an empty one."""
    if isinstance(value, str):
        raise ConfigError(f"'{path}' has the {name} {value!r:.40} in row {n + 1}; give it as a number")
    return float("nan") if value is None else float(value)


def _none_if_nan(value: float) -> float | None:
    return None if value != value else value


def _to_json(value: Any) -> Any:
    """A cell as a JSON value; None for an empty one."""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return clean_text(str(value) if isinstance(value, datetime.date) else value)
