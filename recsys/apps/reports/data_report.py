"""`recsys report data`: what an event log looks like, and whether it is large enough."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from recsys.apps.reports import log_statistics, split_statistics, sufficiency
from recsys.apps.reports.data_document import lay_out_data_report
from recsys.apps.reports.side_tables import compute_missing_shares, load_side_tables
from recsys.config.build import build
from recsys.config.settings import check_settings
from recsys.data.dataset import Dataset
from recsys.data.preparation.prepare import prepare
from recsys.data.preparation.splits import Split
from recsys.data.settings import DataSettings
from recsys.document import render_page
from recsys.run import write_text

Json = dict[str, Any]


def report_data(data: dict[str, Any], split: dict[str, Any], out: str) -> list[str]:
    """Write the page `out`, and its numbers next to it as .json; the settings are those of configs/report_data.yaml.
    Returns the verdict and the paths. Raises ConfigError, DataError.
    """
    config = OmegaConf.create({"data": data, "split": split})
    check_settings(config)
    split_rule: Split = build(config.split)
    settings: DataSettings = build(config.data)
    dataset = prepare(settings, split_rule)
    report = compute_data_report(dataset, load_side_tables(settings, dataset))
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(lay_out_data_report(report)))
    write_text(path.with_suffix(".json"), json.dumps(report, indent=1) + "\n")
    return [*report["verdict"]["said"], f"written: {path}, {path.with_suffix('.json')}"]


def compute_data_report(dataset: Dataset, tables: Mapping[str, pd.DataFrame]) -> Json:
    """Every number of the report, in the format of its JSON file; null where the log lacks the times that it needs.
    `tables` are those of `load_side_tables`.
    """
    training = split_statistics.describe_training_targets(dataset)
    test = split_statistics.describe_test_targets(dataset)
    ties = log_statistics.describe_ties(dataset)
    return {
        "name": dataset.metadata["name"],
        "split": {"name": dataset.metadata["split"]["name"], "hash": dataset.split_hash},
        "exclude_seen": dataset.exclude_seen,
        "counts": dataset.metadata["counts"],
        "size": log_statistics.describe_log_size(dataset),
        "verdict": _compute_verdict(dataset, training, test, ties),
        "days": log_statistics.describe_events_over_time(dataset),
        "popularity": log_statistics.describe_item_popularity(np.bincount(dataset.items)),
        "history": log_statistics.describe_history_lengths(np.diff(dataset.offsets)),
        "gaps": log_statistics.describe_pauses(dataset),
        "ties": ties,
        "repeats": split_statistics.compute_repeat_share(dataset),
        "training": training,
        "test": test,
        "missing": {name: compute_missing_shares(table) for name, table in tables.items()},
    }


def _compute_verdict(dataset: Dataset, training: Json, test: Json, ties: Json | None) -> Json:
    rules = sufficiency.check_sufficiency(training, test, dataset.exclude_seen, dataset.ordered)
    return {
        **sufficiency.group_models_by_verdict(rules),
        "said": sufficiency.explain_sufficiency(rules, test, ties),
        "half_width": sufficiency.compute_half_width(test["users"]) if test["users"] else None,
        "rules": sufficiency.rules_to_json(rules),
    }
