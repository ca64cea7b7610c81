"""The record of a run's data in data.json, which reports read and which guards against ranking on other data."""

from typing import Any

from recsys.data.dataset import Dataset
from recsys.errors import ConfigError
from recsys.run import Run

FIELDS = ("name", "source", "split", "counts", "n_users", "n_items", "exclude_seen", "target_events", "split_hash")


def record_dataset(run: Run, dataset: Dataset) -> None:
    """Write data.json; ConfigError for a run that was begun on other data."""
    check_same_dataset(run, dataset)
    record: dict[str, Any] = {name: dataset.metadata[name] for name in FIELDS}
    record["has_time"] = dataset.timestamps is not None
    run.write_json("data", record | {"privacy": dataset.metadata.get("privacy"), "prepared": dataset.folder.name})


def check_same_dataset(run: Run, dataset: Dataset) -> None:
    """Raises ConfigError if the data are no longer those that the run was trained on: items have other numbers.

    A stale run raises its own error first.
    """
    run.refuse_stale()
    if (run.folder / "data.json").exists() and run.read_json("data")["split_hash"] != dataset.split_hash:
        raise ConfigError(f"'{run.folder}' was trained on other data than its settings now give; train again")
