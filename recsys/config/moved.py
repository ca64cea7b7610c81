"""Old import paths and where they are now, so that earlier run folders, registries and studies keep working."""

from typing import Any

MODULES = {
    "recsys.abtest.job": "recsys.apps.abtest.commands",
    "recsys.abtest.part": "recsys.apps.abtest.middleware",
    "recsys.assistant.job": "recsys.apps.assistant.commands",
    "recsys.assistant.part": "recsys.apps.assistant.middleware",
    "recsys.benchmark.artefact": "recsys.apps.benchmark.artefact",
    "recsys.benchmark.cold_items": "recsys.apps.benchmark.cold_items",
    "recsys.benchmark.explain": "recsys.apps.benchmark.explain",
    "recsys.benchmark.http": "recsys.apps.benchmark.http",
    "recsys.benchmark.known_items": "recsys.apps.benchmark.known_items",
    "recsys.benchmark.peers": "recsys.apps.benchmark.peers",
    "recsys.benchmark.replay": "recsys.apps.benchmark.replay",
    "recsys.benchmark.sessions": "recsys.apps.benchmark.sessions",
    "recsys.benchmark.sizes": "recsys.apps.benchmark.sizes",
    "recsys.benchmark.training": "recsys.apps.benchmark.training",
    "recsys.benchmark.until": "recsys.apps.benchmark.until",
    "recsys.benchmark.variety": "recsys.apps.benchmark.variety",
    "recsys.card": "recsys.export.model_card",
    "recsys.data.filters": "recsys.data.preparation.filters",
    "recsys.data.next_batches": "recsys.data.batches.next_item",
    "recsys.data.prepare": "recsys.data.preparation.prepare",
    "recsys.data.privacy": "recsys.data.preparation.consent",
    "recsys.data.public": "recsys.data.sources.public",
    "recsys.data.rest_batches": "recsys.data.batches.held_out",
    "recsys.data.sources": "recsys.data.sources.files",
    "recsys.data.splits": "recsys.data.preparation.splits",
    "recsys.data.sql": "recsys.data.sources.sql",
    "recsys.data.window_batches": "recsys.data.batches.window",
    "recsys.forecast.job": "recsys.apps.customers.forecast",
    "recsys.insights.job": "recsys.apps.customers.segment",
    "recsys.leaderboard": "recsys.evaluation.leaderboard",
    "recsys.lifecycle.commands": "recsys.apps.lifecycle.commands",
    "recsys.lifecycle.monitor": "recsys.apps.lifecycle.monitor",
    "recsys.lifecycle.refresh": "recsys.apps.lifecycle.refresh",
    "recsys.lifecycle.shadow": "recsys.apps.lifecycle.shadow",
    "recsys.looking.data_report": "recsys.apps.reports.data_report",
    "recsys.looking.run_report": "recsys.apps.reports.run_report",
    "recsys.models.blocks": "recsys.models.layers.blocks",
    "recsys.models.ease": "recsys.models.baselines.ease",
    "recsys.models.item_knn": "recsys.models.baselines.item_knn",
    "recsys.models.personal_frequency": "recsys.models.baselines.personal_frequency",
    "recsys.models.popularity": "recsys.models.baselines.popularity",
    "recsys.models.recent_popularity": "recsys.models.baselines.recent_popularity",
    "recsys.privacy.audit": "recsys.apps.privacy.audit",
    "recsys.privacy.forget": "recsys.apps.privacy.forget",
    "recsys.serving.arranging": "recsys.serving.middleware.rule_middleware",
    "recsys.serving.consent": "recsys.serving.middleware.consent",
    "recsys.serving.rules": "recsys.serving.middleware.rules",
    "recsys.serving.sessions": "recsys.serving.middleware.sessions",
    "recsys.training.rowwise": "recsys.training.optimizers",
    "recsys.training.trackers": "recsys.training.loggers",
}
"""module in 0.1 → module today; classes keep their names unless RENAMED lists them"""

RENAMED: dict[str, str] = {
    "recsys.export.model_card.card": "recsys.export.model_card.write_card",
    "recsys.data.batches.held_out.RestBatches": "recsys.data.batches.held_out.HeldOutBatches",
    "recsys.data.batches.next_item.next_batches": "recsys.data.batches.next_item.next_item_batches",
    "recsys.data.preparation.prepare.prepare": "recsys.data.settings.DataSettings",
    "recsys.models.layers.blocks.usual_block": "recsys.models.layers.blocks.default_block",
    "recsys.evaluation.leaderboard.leaderboard": "recsys.evaluation.leaderboard.compare_runs",
    "recsys.apps.assistant.commands.mcp": "recsys.apps.assistant.commands.serve_mcp",
    "recsys.serving.middleware.rule_middleware.Arranging": "recsys.serving.middleware.rule_middleware.RuleMiddleware",
}
"""today's module with the old name of a class or function → its path today"""


def current_target(target: str) -> str:
    """Today's path of a `_target_`; paths that never moved are returned unchanged."""
    module, _, name = target.rpartition(".")
    path = f"{MODULES.get(module, module)}.{name}"
    return RENAMED.get(path, path)


def update_targets(node: Any) -> Any:
    """The settings with today's path for every `_target_`."""
    if isinstance(node, list):
        return [update_targets(child) for child in node]
    if not isinstance(node, dict):
        return node
    updated = {key: update_targets(child) for key, child in node.items()}
    if isinstance(updated.get("_target_"), str):
        updated["_target_"] = current_target(updated["_target_"])
    return updated
