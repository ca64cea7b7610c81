"""Compares a model with the baselines, on validation and test."""

import logging
from typing import Any

from omegaconf import DictConfig

from recsys.data.dataset import Dataset
from recsys.errors import TooLargeError
from recsys.evaluation.context_ablation import format_context, measure_context
from recsys.evaluation.evaluate import Ranking, evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, make_scorer
from recsys.evaluation.tables import compare_to_best, format_rankings, format_segments, ranking_to_json
from recsys.models.base import Model
from recsys.models.build import get_model_name, make_model

log = logging.getLogger(__name__)
PARTS = ("validation", "test")
PartRankings = dict[str, Ranking]


def compare_with_baselines(
    model: Model, dataset: Dataset, config: DictConfig, validated: Model | None = None
) -> tuple[dict[str, Any], str]:
    """The content of metrics.json (the model and every baseline, on validation and test), and the test metrics as text.

    For a model that reads the context of requests, both include how much it gains from it. `validated` is the model
    before it was retrained with validation's events (None: the same model).
    """
    name, validated = get_model_name(config), validated or model
    log.info("evaluating %s on validation and test", name)
    rankings = {
        "validation": rank_part(validated, dataset, config, "validation"),
        "test": rank_part(model, dataset, config, "test"),
    }
    baselines, skipped = _rank_baselines(dataset, config)
    tests = {baseline: parts["test"] for baseline, parts in baselines.items()}
    lines = [_heading(dataset, rankings["test"]), format_rankings({name: rankings["test"], **tests})]
    lines += [f"\n{segment_table}" for segment_table in format_segments(name, rankings["test"], tests)]
    lines += skipped.values()
    if tests:
        lines.append(compare_to_best(name, rankings["test"], tests))
    context = measure_context(validated, dataset, config)
    if context is not None:
        lines.append(format_context(context, dataset))
    metrics = {
        **_parts_to_json(rankings),
        "baselines": {**{baseline: _parts_to_json(parts) for baseline, parts in baselines.items()}, **skipped},
        **({} if context is None else {"context": context}),
        "split_hash": dataset.split_hash,
        "n_users": dataset.n_users,
        "n_items": dataset.n_items,
    }
    return metrics, "\n".join(lines)


def rank_part(model: Model, dataset: Dataset, config: DictConfig, part: str) -> Ranking:
    """The ranking on `part`; a model that is not trained is first fitted to all events before it."""
    model.fit(dataset, part)
    batches = make_ranking_batches(dataset, part, model.max_history)
    return evaluate_scorer(make_scorer(model), dataset, batches, tuple(config.ks))


def _rank_baselines(dataset: Dataset, config: DictConfig) -> tuple[dict[str, PartRankings], dict[str, str]]:
    """The rankings of the baselines that ran, and for each of the others the reason why it did not."""
    rankings, skipped = {}, {}
    for name, node in config.baselines.items():
        log.info("evaluating the baseline %s", name)
        try:
            model = make_model(node, dataset, config.batches.max_history)
            rankings[str(name)] = {part: rank_part(model, dataset, config, part) for part in PARTS}
        except TooLargeError as reason:
            skipped[str(name)] = f"{name}: not run: {reason}"
    return rankings, skipped


def _heading(dataset: Dataset, test: Ranking) -> str:
    seen = "items the user already had are left out" if dataset.exclude_seen else "repeats are ranked"
    per_event = ", one query for each" if dataset.ask == "event" else ""
    return (
        f"\ntest: {dataset.metadata['name']}, {test.n_users:,} users, {test.n_targets:,} targets{per_event} "
        f"({test.n_cold_targets:,} of them unknown in training, which count as misses); "
        f"all {dataset.n_items:,} items are ranked, {seen}; "
        f"split {dataset.metadata['split']['name']} {dataset.split_hash[:12]}"
    )


def _parts_to_json(parts: PartRankings) -> dict[str, dict[str, Any]]:
    return {part: ranking_to_json(ranking) for part, ranking in parts.items()}
