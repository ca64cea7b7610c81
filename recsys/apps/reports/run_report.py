"""`recsys report run`: how good a run's model is, for which users and items, and what its lists look like."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from recsys.apps.reports import run_results
from recsys.apps.reports.examples import collect_examples
from recsys.apps.reports.item_map import compute_item_map
from recsys.apps.reports.ranked_targets import TargetRanks, rank_test_targets, select_test_users
from recsys.apps.reports.run_document import lay_out_run_report
from recsys.apps.reports.side_tables import choose_item_categories, choose_item_titles, load_side_tables
from recsys.apps.reports.target_groups import (
    compute_group_ndcg,
    compute_user_ndcg,
    group_by_history_length,
    group_by_popularity,
)
from recsys.config.build import build
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.document import render_page
from recsys.errors import ConfigError
from recsys.evaluation.metrics.stats import paired_difference
from recsys.models.base import Model
from recsys.models.build import get_model_name, make_model, restore
from recsys.run import Run, write_text

Json = dict[str, Any]


def report_run(
    run: str,
    out: str | None,
    title: str | None,
    category: str | None,
    n_users: int,
    n_examples: int,
    fewest: int,
    seed: int,
) -> list[str]:
    """Write the page, and its numbers next to it as .json; the settings are those of configs/report_run.yaml. Returns
    the verdict and the paths. Raises ConfigError, DataError.
    """
    source = Run.open(run)
    path = Path(out) if out else source.folder / "report.html"
    if n_users < 1 or n_examples < 0:
        raise ConfigError(
            f"n_users={n_users}, n_examples={n_examples} is invalid: expected n_users ≥ 1 and n_examples ≥ 0"
        )
    report = _compute_run_report(source, title, category, n_users, n_examples, fewest, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(lay_out_run_report(report)))
    write_text(path.with_suffix(".json"), json.dumps(report, indent=1, default=str) + "\n")
    return [report["verdict"], f"written: {path}, {path.with_suffix('.json')}"]


def _compute_run_report(
    run: Run, title: str | None, category: str | None, n_users: int, n_examples: int, min_users: int, seed: int
) -> Json:
    """Every number of the report, in the format of its JSON file."""
    config, metrics = run.config, run_results.read_run_json(run, "metrics")
    dataset = load_dataset(config)
    model = restore(config, dataset, run)
    titles, categories = _load_item_texts(config, dataset, title, category)
    users = select_test_users(dataset, n_users, seed)
    example_users = np.sort(np.random.default_rng(seed).permutation(users)[:n_examples])
    k = min(run_results.choose_list_length(metrics), dataset.n_items)
    return {
        "model": get_model_name(config),
        "data": dataset.metadata["name"],
        "split": {"name": dataset.metadata["split"]["name"], "hash": dataset.split_hash},
        "k": k,
        "test": {name: metrics["test"][name] for name in ("n_users", "n_targets", "n_cold_targets")} if metrics else {},
        **_compare_with_best_baseline(run, model, dataset, users, k, min_users),
        "figures": run_results.collect_test_figures(run, metrics),
        "not_run": run_results.list_skipped_baselines(metrics),
        "curves": run_results.read_learning_curves(run),
        "training": run_results.read_run_json(run, "training"),
        "segments": _select_published(metrics.get("test", {}).get("segments", {}), k, min_users),
        "context": metrics.get("context"),
        "examples": collect_examples(model, dataset, example_users, k, titles) if len(example_users) else [],
        "map": compute_item_map(model, dataset, titles, categories),
        "timing": run_results.read_run_json(run, "timing"),
        "environment": run_results.read_run_json(run, "environment"),
        "settings": run_results.find_changed_settings(run),
    }


def _load_item_texts(
    config: DictConfig, dataset: Dataset, title: str | None, category: str | None
) -> tuple[list[str], pd.Series | None]:
    """The titles and categories of the items, in the order of their numbers."""
    table = load_side_tables(build(config.data), dataset).get("item")
    titles = choose_item_titles(table, title, dataset.raw_items().to_pylist())
    features = list(dataset.encoders["item"])
    return titles, choose_item_categories(table, category, features, config.data.features.separator)


def _compare_with_best_baseline(
    run: Run, model: Model, dataset: Dataset, users: np.ndarray, k: int, min_users: int
) -> Json:
    """The model and the best baseline on the same users: the verdict, and NDCG by popularity and history length."""
    if not len(users):
        return {"verdict": "Not ranked: no user has a target in the test part.", "ranked_users": 0, "by": {}}
    name = get_model_name(run.config)
    targets = {name: rank_test_targets(model, dataset, users)}
    figures = run_results.collect_test_figures(run, run_results.read_run_json(run, "metrics"))
    best = next((row["name"] for row in figures if not row["model"]), None)
    if best is not None:
        targets[best] = _rank_baseline(run.config, best, dataset, users)
    groupings = {
        "popularity of the target": group_by_popularity(dataset, targets[name].items),
        "history length": group_by_history_length(dataset, targets[name].users),
    }
    return {
        "verdict": _judge_model(targets, k),
        "ranked_users": len(users),
        "by": {
            grouping: {
                other: compute_group_ndcg(ranks, names, groups, k, min_users) for other, ranks in targets.items()
            }
            for grouping, (names, groups) in groupings.items()
        },
    }


def _rank_baseline(config: DictConfig, name: str, dataset: Dataset, users: np.ndarray) -> TargetRanks:
    baseline = make_model(config.baselines[name], dataset, config.batches.max_history)
    baseline.fit(dataset, "test")
    return rank_test_targets(baseline.eval(), dataset, users)


def _judge_model(targets: dict[str, TargetRanks], k: int) -> str:
    """Whether the model beats the best baseline, as a sentence, from a paired bootstrap over the users."""
    values = {name: compute_user_ndcg(ranks.users, ranks.ranks, k) for name, ranks in targets.items()}
    name, *baselines = values
    if not baselines:
        return f"{name} has no baseline to compare with; train with baselines=default."
    best = baselines[0]
    difference = paired_difference(values[name], values[best])
    interval = f"95% interval {difference.low:+.4f} to {difference.high:+.4f}"
    by = f"ndcg@{k} differs by {difference.difference:+.4f} ({interval})"
    if difference.low > 0:
        return f"{name} beats the best baseline, {best}: {by}."
    if difference.high < 0:
        return f"{name} does NOT beat the best baseline, {best}: {by}; use {best}."
    return f"{name} does not clearly beat the best baseline, {best}: {by}; prefer the simpler {best}."


def _select_published(segments: Json, k: int, min_users: int) -> Json:
    """The figures by segment that the run has, without segments of fewer than `min_users` users."""
    return {
        column: {
            value: {"users": figures["n_users"], "ndcg": figures[f"ndcg@{k}"]}
            for value, figures in values.items()
            if figures["n_users"] >= min_users
        }
        for column, values in segments.items()
    }
