"""A model beside the baselines, on validation and test."""

from typing import Any

from omegaconf import DictConfig

from recsys.data.dataset import Dataset
from recsys.evaluation import Ranking, evaluate, ranking_batches
from recsys.models.base import ClosedForm, Model, TooLargeError
from recsys.report import as_json, segment_tables, table, verdict
from recsys.training.fit import make_model
from recsys.training.module import scorer

PARTS = ("validation", "test")
Parts = dict[str, Ranking]


def compare(model: Model, dataset: Dataset, config: DictConfig) -> tuple[dict[str, Any], str]:
    """What metrics.json holds (the model and every baseline on validation and test), and the test figures as
    text.
    """
    name = model_name(config)
    own = _rank_parts(model, dataset, config)
    ran, not_run = _rank_baselines(dataset, config)
    tests = {other: parts["test"] for other, parts in ran.items()}
    lines = [_heading(dataset, own["test"]), table({name: own["test"], **tests})]
    lines += [f"\n{found}" for found in segment_tables(name, own["test"], tests)]
    lines += not_run.values()
    if ran:
        lines.append(verdict(name, own["test"], tests))
    metrics = {
        **{part: as_json(ranking) for part, ranking in own.items()},
        "baselines": {**{other: _json(parts) for other, parts in ran.items()}, **not_run},
        "split_hash": dataset.split_hash,
        "n_users": dataset.n_users,
        "n_items": dataset.n_items,
    }
    return metrics, "\n".join(lines)


def model_name(config: DictConfig) -> str:
    """The name of the model's file, which is that of its config too."""
    return str(config.model._target_).split(".")[-2]


def _rank_baselines(dataset: Dataset, config: DictConfig) -> tuple[dict[str, Parts], dict[str, str]]:
    """The rankings of the baselines that ran, and why the others did not."""
    ran, not_run = {}, {}
    for name, node in config.baselines.items():
        try:
            ran[str(name)] = _rank_parts(make_model(node, dataset, config.batches.max_history), dataset, config)
        except TooLargeError as reason:
            not_run[str(name)] = f"{name}: not run: {reason}"
    return ran, not_run


def _rank_parts(model: Model, dataset: Dataset, config: DictConfig) -> Parts:
    """The rankings on both parts; a closed form is fitted to all that comes before the part."""
    found = {}
    for part in PARTS:
        max_history = config.batches.max_history
        if isinstance(model, ClosedForm):
            max_history = None
            model.fit(dataset, part)
        batches = ranking_batches(dataset, part, max_history)
        found[part] = evaluate(scorer(model), dataset, batches, tuple(config.ks))
    return found


def _heading(dataset: Dataset, test: Ranking) -> str:
    seen = "seen items left out" if dataset.exclude_seen else "repeats ranked"
    return (
        f"\ntest: {dataset.metadata['name']}, {test.n_users:,} users, {test.n_targets:,} targets "
        f"({test.n_cold_targets:,} cold, counted as misses), {dataset.n_items:,} items, all ranked, {seen}; "
        f"split {dataset.metadata['split']['name']} {dataset.split_hash[:12]}"
    )


def _json(parts: Parts) -> dict[str, dict[str, Any]]:
    return {part: as_json(ranking) for part, ranking in parts.items()}
