"""Some test users as examples: their newest events, the recommended list, and what they bought in the test part."""

from typing import Any

import numpy as np

from recsys.apps.reports.ranked_targets import recommend_lists
from recsys.data.batches.ranking import RankingBatches
from recsys.data.dataset import Dataset
from recsys.models.base import Model

Array = np.ndarray
Json = dict[str, Any]
MAX_HISTORY, MAX_TARGETS = 8, 10
"""events before the test part, and targets, that an example shows at most"""


def collect_examples(model: Model, dataset: Dataset, users: Array, k: int, titles: list[str]) -> list[Json]:
    """For each of `users` the newest events, the list of `k` items and the targets, by title and with hits marked, in
    the format of report.json; users are numbered from 1 and their ids left out.
    """
    batches = RankingBatches(dataset, "test", 1)
    recommended = recommend_lists(model, dataset, users, k)
    examples = []
    for number, user in enumerate(users.tolist(), start=1):
        history = dataset.items[dataset.offsets[user] : batches.history_end[user]]
        positions = np.arange(batches.history_end[user], batches.target_end[user])
        if dataset.is_target is not None:
            positions = positions[dataset.is_target[positions]]
        targets = dataset.items[positions]
        distinct_targets = list(dict.fromkeys(targets.tolist()))
        examples.append(
            {
                "number": number,
                "events_before": len(history),
                "history": [titles[item - 1] for item in history[-MAX_HISTORY:]],
                "list": _mark_hits(recommended[user], targets, titles),
                "targets": len(distinct_targets),
                "came": _mark_hits(distinct_targets[:MAX_TARGETS], recommended[user], titles),
            }
        )
    return examples


def _mark_hits(items: Array | list[int], hits: Array, titles: list[str]) -> list[Json]:
    return [{"title": titles[item - 1], "hit": bool(np.isin(item, hits))} for item in items]
