"""`recsys report run`: what a run found, for whom it is good, and what its lists look like."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from recsys.apps.reports import run_facts as told
from recsys.apps.reports.examples import examples, item_map
from recsys.apps.reports.run_document import sections
from recsys.apps.reports.side_tables import categories, side_by_side, titles
from recsys.apps.reports.test_rankings import (
    Ranked,
    by_history,
    by_popularity,
    fitted,
    per_user,
    rank,
    segmented,
    test_users,
)
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
    """Write the page and the numbers on it beside it as JSON, settings as in configs/report_run.yaml. Returns the
    verdict and where they are. Raises ConfigError, DataError.
    """
    found = Run.open(run)
    path = Path(out) if out else found.folder / "report.html"
    if n_users < 1 or n_examples < 0:
        raise ConfigError(f"n_users={n_users}, n_examples={n_examples}: give at least 1 user, and 0 examples or more")
    facts = _facts(found, (title, category), n_users, n_examples, fewest, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(sections(facts)))
    write_text(path.with_suffix(".json"), json.dumps(facts, indent=1, default=str) + "\n")
    return [facts["verdict"], f"written: {path}, {path.with_suffix('.json')}"]


def _facts(
    run: Run, columns: tuple[str | None, str | None], n_users: int, n_examples: int, fewest: int, seed: int
) -> Json:
    """Every number of the report, as it stands in the JSON file."""
    config, metrics = run.config, told.read(run, "metrics")
    dataset = load_dataset(config)
    model, max_history = fitted(restore(config, dataset, run), dataset, config)
    table = side_by_side(_settings(config), dataset).get("item")
    names = titles(table, columns[0], dataset.raw_items().to_pylist())
    used = list(dataset.encoders["item"])
    kinds = categories(table, columns[1], used, config.data.features.separator)
    users = test_users(dataset, n_users, seed)
    some = np.sort(np.random.default_rng(seed).permutation(users)[:n_examples])
    k = min(told.list_length(metrics), dataset.n_items)
    return {
        "model": get_model_name(config),
        "data": dataset.metadata["name"],
        "split": {"name": dataset.metadata["split"]["name"], "hash": dataset.split_hash},
        "k": k,
        "test": {name: metrics["test"][name] for name in ("n_users", "n_targets", "n_cold_targets")} if metrics else {},
        **_compared(run, model, dataset, users, max_history, k, fewest),
        "figures": told.figures(run, metrics),
        "not_run": told.not_run(metrics),
        "curves": told.curves(run),
        "training": told.read(run, "training"),
        "segments": _published(metrics.get("test", {}).get("segments", {}), k, fewest),
        "context": metrics.get("context"),
        "examples": examples(model, dataset, some, max_history, k, names) if len(some) else [],
        "map": item_map(model, dataset, names, kinds),
        "timing": told.read(run, "timing"),
        "environment": told.read(run, "environment"),
        "settings": told.changed(run),
    }


def _compared(
    run: Run, model: Model, dataset: Dataset, users: np.ndarray, max_history: int | None, k: int, fewest: int
) -> Json:
    """The model beside the best baseline: over all of the users, and by popularity and history length."""
    if not len(users):
        return {"verdict": "Not ranked: no user has a target in the test part.", "ranked_users": 0, "by": {}}
    name, config = get_model_name(run.config), run.config
    ranked = {name: rank(model, dataset, users, max_history)}
    best = next((row["name"] for row in told.figures(run, told.read(run, "metrics")) if not row["model"]), None)
    if best is not None:
        other, longest = fitted(
            make_model(config.baselines[best], dataset, config.batches.max_history), dataset, config
        )
        ranked[best] = rank(other, dataset, users, longest)
    one = ranked[name]
    splits = {
        "popularity of the target": by_popularity(dataset, one.items),
        "history length": by_history(dataset, one.users),
    }
    return {
        "verdict": _verdict(ranked, k),
        "ranked_users": len(users),
        "by": {
            split: {model: segmented(of, names, own, k, fewest) for model, of in ranked.items()}
            for split, (names, own) in splits.items()
        },
    }


def _verdict(ranked: dict[str, Ranked], k: int) -> str:
    """A sentence on whether the model beats the best baseline, by a paired bootstrap over the users."""
    values = {name: per_user(of.users, of.ranks, k) for name, of in ranked.items()}
    name, *best = values
    if not best:
        return f"{name} has no baseline beside it: train with baselines=default."
    found = paired_difference(values[name], values[best[0]])
    by = f"ndcg@{k} differs by {found.difference:+.4f} (95% {found.low:+.4f} to {found.high:+.4f})"
    if found.low > 0:
        return f"{name} beats the best baseline, {best[0]}: {by}."
    if found.high < 0:
        return f"{name} does not beat the best baseline, {best[0]}: {by}; use {best[0]}."
    return f"{name} and the best baseline, {best[0]}, cannot be told apart: {by}; prefer the simpler {best[0]}."


def _published(columns: Json, k: int, fewest: int) -> Json:
    """The segments that the run was reported by, without those of fewer users than may be published."""
    return {
        column: {value: {"users": of["n_users"], "ndcg": of[f"ndcg@{k}"]} for value, of in values.items()
                 if of["n_users"] >= fewest}
        for column, values in columns.items()
    }  # fmt: skip


def _settings(config: DictConfig) -> dict[str, Any]:
    found = OmegaConf.to_container(config.data, resolve=True)
    assert isinstance(found, dict)
    return {str(name): value for name, value in found.items()}
