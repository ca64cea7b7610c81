"""A model beside the baselines, on validation and test."""

import logging
from typing import Any

from omegaconf import DictConfig

from recsys.data.dataset import Dataset
from recsys.errors import TooLargeError
from recsys.evaluation.context_ablation import context_table, context_worth
from recsys.evaluation.evaluate import Ranking, evaluate, ranking_batches
from recsys.evaluation.tables import as_json, segment_tables, table, verdict
from recsys.models.base import ClosedForm, Model
from recsys.training.fit import make_model
from recsys.training.module import scorer

log = logging.getLogger(__name__)
PARTS = ("validation", "test")
Parts = dict[str, Ranking]


def compare(
    model: Model, dataset: Dataset, config: DictConfig, validated: Model | None = None
) -> tuple[dict[str, Any], str]:
    """What metrics.json holds (the model and every baseline on validation and test), and the test figures as
    text; with what the context is worth to a model that takes any. `validated` is the model before it was trained anew
    on validation's events.
    """
    name, validated = model_name(config), validated or model
    log.info("ranking %s for every user, on validation and test", name)
    own = {"validation": rank(validated, dataset, config, "validation"), "test": rank(model, dataset, config, "test")}
    ran, not_run = _rank_baselines(dataset, config)
    tests = {other: parts["test"] for other, parts in ran.items()}
    lines = [_heading(dataset, own["test"]), table({name: own["test"], **tests})]
    lines += [f"\n{found}" for found in segment_tables(name, own["test"], tests)]
    lines += not_run.values()
    if ran:
        lines.append(verdict(name, own["test"], tests))
    worth = context_worth(validated, dataset, config)
    if worth is not None:
        lines.append(context_table(worth, dataset))
    metrics = {
        **{part: as_json(ranking) for part, ranking in own.items()},
        "baselines": {**{other: _json(parts) for other, parts in ran.items()}, **not_run},
        **({} if worth is None else {"context": worth}),
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
        log.info("ranking the baseline %s", name)
        try:
            model = make_model(node, dataset, config.batches.max_history)
            ran[str(name)] = {part: rank(model, dataset, config, part) for part in PARTS}
        except TooLargeError as reason:
            not_run[str(name)] = f"{name}: not run: {reason}"
    return ran, not_run


def rank(model: Model, dataset: Dataset, config: DictConfig, part: str) -> Ranking:
    """The ranking on one part; a closed form is fitted to all that comes before it."""
    max_history = config.batches.max_history
    if isinstance(model, ClosedForm):
        max_history = None
        model.fit(dataset, part)
    batches = ranking_batches(dataset, part, max_history)
    return evaluate(scorer(model), dataset, batches, tuple(config.ks))


def _heading(dataset: Dataset, test: Ranking) -> str:
    seen = "seen items left out" if dataset.exclude_seen else "repeats ranked"
    asked = ", each asked in its own moment" if dataset.ask == "event" else ""
    return (
        f"\ntest: {dataset.metadata['name']}, {test.n_users:,} users, {test.n_targets:,} targets "
        f"({test.n_cold_targets:,} cold, counted as misses){asked}, {dataset.n_items:,} items, all ranked, {seen}; "
        f"split {dataset.metadata['split']['name']} {dataset.split_hash[:12]}"
    )


def _json(parts: Parts) -> dict[str, dict[str, Any]]:
    return {part: as_json(ranking) for part, ranking in parts.items()}
