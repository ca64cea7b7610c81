"""From a source to a prepared dataset on disk: read, validate, filter, split, number, write, rename."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import narwhals.stable.v2 as nw
import pandas as pd

from recsys.data.dataset import Dataset
from recsys.data.engines.duckdb import Engine, Frame, opened
from recsys.data.engines.spark import SparkEngine
from recsys.data.event_log import before, read_log
from recsys.data.preparation.consent import guarded, renamed
from recsys.data.preparation.context_table import with_moments
from recsys.data.preparation.erased_users import Ledger
from recsys.data.preparation.pack import pack, side_tables
from recsys.data.preparation.refunds import without_refunds
from recsys.data.preparation.splits import Split, without_new_users, without_rare_items
from recsys.data.preparation.validation import validate
from recsys.data.preparation.vocabulary import FILES, Vocabulary, renumbered
from recsys.data.schema import Columns
from recsys.data.settings import DataSettings
from recsys.errors import DataError

FORMAT = 3
DAY = 86_400
log = logging.getLogger(__name__)


def prepare(settings: DataSettings, split: Split) -> Dataset:
    """The prepared dataset of a source, from `settings.folder` if the same was prepared before.

    Nobody in the folder's list of erased users is let in. Raises DataError for input that cannot be used; then nothing
    is left behind.
    """
    settings.features.refuse_later(settings.columns)
    spec = _specification(settings, split)
    old = Vocabulary.read(settings.vocabulary) if settings.vocabulary else Vocabulary()
    fingerprint = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    path = Path(settings.folder) / f"{settings.name}-{fingerprint[:16]}"
    if (path / "metadata.json").exists():
        log.info("dataset: reusing %s", path)
        return Dataset(path)
    log.info("dataset: preparing %s", path)
    _sweep(path)
    with _staged(path) as work:
        spark, memory = settings.spark, settings.memory
        make_engine = partial(SparkEngine, master=spark) if spark else partial(Engine, memory=memory)
        with opened(work / "stages", make_engine) as engine:
            erased = Ledger(Path(settings.folder), settings.privacy.key)
            if any(user in erased for user in map(str, old.users)):
                raise DataError(
                    f"vocabulary='{settings.vocabulary}' holds users who were erased; train anew without it"
                )
            _write(work, engine, settings, split, spec, erased, old)
            if Ledger(Path(settings.folder), settings.privacy.key).marks != erased.marks:
                raise DataError("users were erased while the data were prepared; run the command again")
        shutil.rmtree(work / "stages")
    return Dataset(path)


def _write(
    work: Path,
    engine: Engine,
    settings: DataSettings,
    split: Split,
    spec: dict[str, Any],
    erased: Ledger,
    old: Vocabulary,
) -> None:
    columns, clock, filters, features = settings.columns, settings.clock, settings.filters, settings.features
    tables = settings.source.read(engine)
    brought = tuple(dict.fromkeys((*features.brought, *settings.privacy.columns)))
    events = with_moments(tables.events, tables.moments, columns, clock, features, engine)
    valid = validate(events, columns, clock, brought, engine)
    valid = guarded(valid, settings.privacy, erased, features.brought, engine)
    valid = without_refunds(valid, settings.refund_events, settings.target_events or filters.events, engine)
    engine.write(valid.quarantine, work / "quarantine.parquet")
    ids = _sort(filters.select(valid.events), engine)
    side = side_tables(tables, columns, features, engine)
    engine.close()  # its memory is the log's now
    read = read_log(work / "stages" / "sorted.parquet", features.brought, settings.target_events, settings.seed)
    if len(old.items):
        read, ids = renumbered(read, ids, old)
    filtered = filters.reduce(read)
    if not len(filtered):
        raise DataError(f"the filters leave no event of {valid.counts['kept']:,}; relax data.filters")
    common = without_rare_items(split(filtered), filters.item_min_training)
    parts = without_new_users(common, filters.user_min_training)
    if not before(parts.bounds[: len(parts.log.offsets) - 1, 0], parts.log.offsets).any():
        raise DataError(f"the split leaves no event for training of {len(filtered):,}; relax data.filters or the split")
    counts = {
        **valid.counts,
        "filtered_out": valid.counts["kept"] - len(filtered),
        "of_rare_items": len(filtered) - len(common.log),
        **({"of_new_users": len(common.log) - len(parts.log)} if filters.user_min_training else {}),
        "events": len(parts.log),
    }
    if "user" in side:
        side["user"].index = side["user"].index.map(renamed(settings.privacy))
    facts = pack(work, parts, ids, side, features, clock.zone, old)
    metadata = {**spec, "zone": clock.zone, "counts": counts, "cuts": parts.cuts, **facts}
    (work / "metadata.json").write_text(json.dumps(metadata, indent=1))


def _sort(events: Frame, engine: Engine) -> dict[str, pd.Series]:
    """Keep the log as 'sorted', codes in place of ids; returns the raw ids in code order."""
    codes: dict[str, Frame] = {}
    for name in ("user", "item", "basket"):
        if name in events.columns:
            found = events.filter(~nw.col(name).is_null()).group_by(name).agg(n=nw.len()).select(name)
            numbered = found.with_row_index(f"{name}_code", order_by=[name])
            codes[name] = engine.keep(numbered.with_columns(nw.col(f"{name}_code").cast(nw.Int32)), f"{name}s")
    for name, table in codes.items():
        events = events.join(table, on=name, how="left" if name == "basket" else "inner").drop(name)
    moment = "timestamp" if "timestamp" in events.columns else "row"
    order = ["user_code", moment, "row"]
    if "basket" in codes:
        together = nw.col(moment).min().over("user_code", "basket_code")
        alone = nw.col("basket_code").is_null()
        events = events.with_columns(start=nw.when(alone).then(nw.col(moment)).otherwise(together))
        order = ["user_code", "start", "basket_code", "row"]
        if moment == "timestamp":
            events = events.with_columns(timestamp=nw.col("start"))
    engine.keep(
        events.sort(*order).drop([name for name in ("row", "start", "value") if name in events.columns]), "sorted"
    )
    return {name: table.sort(f"{name}_code").collect("pandas").to_native()[name] for name, table in codes.items()}


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """A temporary folder that takes its final name only if all went well."""
    if path.exists():
        raise DataError(f"'{path}' is no whole dataset, for it lacks metadata.json; delete that folder")
    work = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        work.mkdir(parents=True)
        yield work
        try:
            work.rename(path)
        except OSError:
            if not (path / "metadata.json").exists():  # else another process was faster
                raise
    except OSError as error:
        raise DataError(
            f"dataset '{path}' cannot be written ({error}); make room or choose another data.folder"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(path: Path) -> None:
    """Remove what killed preparations of this dataset left, once nothing in it has changed for a day."""
    for left in path.parent.glob(f".{path.name}-*"):
        with suppress(FileNotFoundError):  # another process sweeps too
            if max(file.stat().st_mtime for file in (left, *left.rglob("*"))) < time.time() - DAY:
                shutil.rmtree(left, ignore_errors=True)


def _specification(settings: DataSettings, split: Split) -> dict[str, Any]:
    """What a prepared dataset depends on."""
    targets = settings.target_events
    spec = {
        "format": FORMAT,
        "name": settings.name,
        "source": settings.source.identity(),
        "columns": _prepared(settings.columns),
        "clock": asdict(settings.clock),
        "filters": asdict(settings.filters),
        "features": settings.features.describe(),
        "exclude_seen": settings.exclude_seen,
        "seed": settings.seed,
        "split": _describe(split),
        "refund_events": list(settings.refund_events),
        "target_events": None if targets is None else list(targets),
        **settings.privacy.describe(),
    }
    if settings.vocabulary is not None:
        spec["vocabulary"] = _identity(Path(settings.vocabulary))
    return spec


def _prepared(columns: Columns) -> dict[str, Any]:
    """The columns that the prepared dataset depends on."""
    named = asdict(columns)
    if named["place"] is None:
        del named["place"]  # so that data without one keep their names
    return {role: name for role, name in named.items() if role != "money"}


def _identity(vocabulary: Path) -> str:
    """A hash of the files of a vocabulary, wherever they lie."""
    paths = [vocabulary / name for name in FILES]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths if path.exists())).hexdigest()


def _describe(split: Split) -> dict[str, Any]:
    settings = asdict(split)  # type: ignore[call-overload]
    described = {"name": type(split).__name__, "ordered": split.ordered, "targets": split.targets, **settings}
    return {name: value for name, value in described.items() if (name, value) != ("ask", "user")}
