"""What a run says of its data, in data.json: for whom reads of it, and so that no other data are taken for them."""

from typing import Any

from recsys.data.dataset import Dataset
from recsys.errors import ConfigError
from recsys.run import Run

SAID = ("name", "source", "split", "counts", "n_users", "n_items", "exclude_seen", "target_events", "split_hash")


def remember(run: Run, dataset: Dataset) -> None:
    """Write data.json; ConfigError for a run that was begun on other data."""
    check_same(run, dataset)
    said: dict[str, Any] = {name: dataset.metadata[name] for name in SAID}
    said["has_time"] = dataset.timestamps is not None
    run.write_json("data", said | {"privacy": dataset.metadata.get("privacy"), "prepared": dataset.folder.name})


def check_same(run: Run, dataset: Dataset) -> None:
    """Raises ConfigError where the data are no longer those that the run was trained on: items have other numbers.
    A stale run says that it is stale.
    """
    run.refuse_stale()
    if (run.folder / "data.json").exists() and run.read_json("data")["split_hash"] != dataset.split_hash:
        raise ConfigError(f"'{run.folder}' was trained on other data than its settings now give; train again")
