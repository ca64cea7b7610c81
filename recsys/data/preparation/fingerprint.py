"""What a prepared dataset depends on, as plain JSON, and the hash of it that its folder is named by."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recsys.data.preparation.splits import Split
from recsys.data.preparation.vocabulary import VOCABULARY_FILES
from recsys.data.schema import Columns
from recsys.data.settings import DataSettings

FORMAT = 3
"""version of the files of a prepared dataset"""


def describe_preparation(settings: DataSettings, split: Split) -> dict[str, Any]:
    """Everything that changes the content of a prepared dataset; metadata.json starts with it."""
    targets = settings.target_events
    description = {
        "format": FORMAT,
        "name": settings.name,
        "source": settings.source.identity(),
        "columns": _describe_columns(settings.columns),
        "clock": asdict(settings.clock),
        "filters": asdict(settings.filters),
        "features": settings.features.describe(),
        "exclude_seen": settings.exclude_seen,
        "seed": settings.seed,
        "split": _describe_split(split),
        "refund_events": list(settings.refund_events),
        "target_events": None if targets is None else list(targets),
        **settings.privacy.describe(),
    }
    if settings.vocabulary is not None:
        description["vocabulary"] = _hash_vocabulary(Path(settings.vocabulary))
    return description


def compute_fingerprint(description: dict[str, Any]) -> str:
    """16 hexadecimal digits that differ for every description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def _describe_columns(columns: Columns) -> dict[str, Any]:
    """The columns that the prepared dataset depends on."""
    names = asdict(columns)
    del names["money"]
    if names["place"] is None:
        del names["place"]  # datasets from before there were places keep their fingerprint
    return names


def _hash_vocabulary(folder: Path) -> str:
    """A hash of the files of a vocabulary, independent of where the folder is."""
    paths = [folder / name for name in VOCABULARY_FILES]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths if path.exists())).hexdigest()


def _describe_split(split: Split) -> dict[str, Any]:
    """The class and settings of a split; the default `ask: user` is left out, as before there was this setting."""
    settings = asdict(split)  # type: ignore[call-overload]
    description = {"name": type(split).__name__, "ordered": split.ordered, "targets": split.targets, **settings}
    return {name: value for name, value in description.items() if (name, value) != ("ask", "user")}
