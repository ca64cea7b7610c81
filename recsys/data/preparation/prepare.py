"""From a source to a prepared dataset on disk: read, validate, filter, split, number, write, rename."""

import json
import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from recsys.data.dataset import Dataset
from recsys.data.engines.duckdb import Engine, open_engine
from recsys.data.engines.spark import SparkEngine
from recsys.data.event_log import EventLog, mask_before, read_log
from recsys.data.preparation.array_writer import write_arrays
from recsys.data.preparation.consent import apply_consent, make_pseudonymizer
from recsys.data.preparation.context_table import join_context_table
from recsys.data.preparation.erased_users import ErasedUsers
from recsys.data.preparation.filters import Filters
from recsys.data.preparation.fingerprint import compute_fingerprint, describe_preparation
from recsys.data.preparation.refunds import remove_refunds
from recsys.data.preparation.side_tables import select_side_tables
from recsys.data.preparation.sort_events import sort_events
from recsys.data.preparation.splits import Split, SplitLog, drop_new_users, drop_rare_items
from recsys.data.preparation.staging import remove_leftovers, stage_folder
from recsys.data.preparation.validation import ValidatedEvents, validate_events
from recsys.data.preparation.vocabulary import Vocabulary, apply_vocabulary
from recsys.data.settings import DataSettings
from recsys.data.sources.files import Tables
from recsys.errors import DataError

log = logging.getLogger(__name__)


def prepare(settings: DataSettings, split: Split) -> Dataset:
    """The prepared dataset of a source, from `settings.folder` if the same was prepared before.

    Users on the folder's list of erased users are left out. Raises DataError for input that cannot be used; then
    nothing is left behind.
    """
    settings.features.check_context(settings.columns)
    description = describe_preparation(settings, split)
    vocabulary = Vocabulary.read(settings.vocabulary) if settings.vocabulary else Vocabulary()
    path = Path(settings.folder) / f"{settings.name}-{compute_fingerprint(description)}"
    if (path / "metadata.json").exists():
        log.info("dataset: reusing %s", path)
        return Dataset(path)
    log.info("dataset: preparing %s", path)
    remove_leftovers(path)
    with stage_folder(path) as work:
        metadata = _write_dataset(work, settings, split, vocabulary)
        (work / "metadata.json").write_text(json.dumps({**description, **metadata}, indent=1))
        shutil.rmtree(work / "stages")
    return Dataset(path)


def _write_dataset(work: Path, settings: DataSettings, split: Split, vocabulary: Vocabulary) -> dict[str, Any]:
    """Write the files of a dataset into `work`; returns what metadata.json says about them."""
    spark, memory = settings.spark, settings.memory
    make_engine = partial(SparkEngine, master=spark) if spark else partial(Engine, memory=memory)
    with open_engine(work / "stages", make_engine) as engine:
        erased = ErasedUsers(Path(settings.folder), settings.privacy.key)
        _check_vocabulary(vocabulary, erased, settings)
        tables = settings.source.read(engine)
        valid = _read_valid_events(tables, settings, erased, engine)
        engine.write(valid.quarantine, work / "quarantine.parquet")
        ids = sort_events(settings.filters.select(valid.events), engine)
        side_tables = select_side_tables(tables, settings.columns, settings.features, engine)
        engine.close()  # the log needs its memory
        extra, targets = settings.features.context_columns, settings.target_events
        events = read_log(work / "stages" / "sorted.parquet", extra, targets, settings.seed)
        if len(vocabulary.items):
            events, ids = apply_vocabulary(events, ids, vocabulary)
        split_log, counts = _filter_and_split(events, settings.filters, split, valid.counts)
        if "user" in side_tables:
            users = side_tables["user"].index
            side_tables["user"].index = users.map(make_pseudonymizer(settings.privacy))
        arrays = write_arrays(work, split_log, ids, side_tables, settings, vocabulary)
        if ErasedUsers(Path(settings.folder), settings.privacy.key).digests != erased.digests:
            raise DataError("users were erased while the data were prepared; run the command again")
    return {"zone": settings.clock.zone, "counts": counts, "cuts": split_log.cuts, **arrays}


def _check_vocabulary(vocabulary: Vocabulary, erased: ErasedUsers, settings: DataSettings) -> None:
    if any(user in erased for user in map(str, vocabulary.users)):
        raise DataError(f"vocabulary='{settings.vocabulary}' contains users who were erased; train again without it")


def _read_valid_events(tables: Tables, settings: DataSettings, erased: ErasedUsers, engine: Engine) -> ValidatedEvents:
    """The events that may be used, before filters: valid, consented to and not taken back."""
    features, privacy = settings.features, settings.privacy
    events = join_context_table(tables, settings.columns, settings.clock, features, engine)
    extra = tuple(dict.fromkeys((*features.context_columns, *privacy.columns)))
    valid = validate_events(events, settings.columns, settings.clock, extra, engine)
    valid = apply_consent(valid, privacy, erased, features.context_columns, engine)
    purchases = settings.target_events or settings.filters.events
    return remove_refunds(valid, settings.refund_events, purchases, engine)


def _filter_and_split(
    events: EventLog, filters: Filters, split: Split, valid_counts: dict[str, int]
) -> tuple[SplitLog, dict[str, int]]:
    """The split log and how many events each step kept or dropped; DataError where nothing is left for training."""
    filtered = filters.reduce(events)
    if not len(filtered):
        raise DataError(f"the filters leave none of the {valid_counts['kept']:,} events; relax data.filters")
    common = drop_rare_items(split(filtered), filters.item_min_training)
    split_log = drop_new_users(common, filters.user_min_training)
    offsets = split_log.log.offsets
    if not mask_before(split_log.bounds[: len(offsets) - 1, 0], offsets).any():
        raise DataError(
            f"the split leaves none of the {len(filtered):,} events for training; relax data.filters or the split"
        )
    counts = {
        **valid_counts,
        "filtered_out": valid_counts["kept"] - len(filtered),
        "of_rare_items": len(filtered) - len(common.log),
        **({"of_new_users": len(common.log) - len(split_log.log)} if filters.user_min_training else {}),
        "events": len(split_log.log),
    }
    return split_log, counts
