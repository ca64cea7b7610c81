"""Whether a recommendation really depends on the item that its explanation names.

For each recommended item with a reason: how much log-probability, over the whole catalogue, it loses when the named
item is left out of the history, when the newest one is, and when any other one is.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsys.apps.benchmark.timing import describe_load
from recsys.data.load import load_dataset
from recsys.export.user_histories import UserHistories
from recsys.run import Run
from recsys.serving.explain import (
    REFERENCE_SIZE,
    THRESHOLD,
    LeaveOneOutPlan,
    Reason,
    compute_drops,
    find_reasons,
    plan_leave_one_out,
)
from recsys.serving.recommender import Recommender


def measure(run: str, users: int, k: int, seed: int) -> list[str]:
    """Returns lines with the share of items that have a reason, mean drops, their ratios and the time per list."""
    recommender = Recommender(Path(run) / "model.onnx")
    past = UserHistories(load_dataset(Run.open(run).config), recommender.describe()["inputs"])
    sample = np.random.default_rng(seed).permutation(sorted(past.user_numbers))[:users].tolist()
    newcomer = recommender.recommend(k=REFERENCE_SIZE).items
    spent: list[float] = []
    drops: list[tuple[float, ...]] = []
    for user in sample:
        request = _make_request(past.read(user))
        items = recommender.recommend(**request, k=k, exclude_seen=True).items
        start = time.process_time()
        plan = plan_leave_one_out(recommender, items, newcomer, **request)
        explanations = find_reasons(plan, recommender.answer(plan.requests, plan.allow))
        spent.append(time.process_time() - start)
        if len(plan.left_out) > 1:
            drops += compare_drops(plan, explanations, compute_catalogue_drops(recommender, plan))
    return [*_format_drops(drops, len(sample), k, spent), describe_load()]


def _format_drops(drops: list[tuple[float, ...]], n_lists: int, k: int, spent: list[float]) -> list[str]:
    if not drops:
        return [f"none of the {k} items of {n_lists} lists has a reason"]
    named, newest, other, above = np.mean(drops, axis=0)
    ratio = f"named ÷ another {named / other:.1f}" if other > 0 else "leaving out another item loses nothing"
    return [
        f"{len(drops) / (k * n_lists):.2f} of the {k} items of {n_lists} lists have a reason",
        f"mean drop of log-probability without the named item {named:.3f}, the newest {newest:.3f}, "
        f"another {other:.3f}",
        f"named ÷ newest {named / newest:.2f}, {ratio}",
        f"{above:.1%} of the other items reach the threshold of {THRESHOLD} too",
        f"reasons for a list: median {np.median(spent) * 1e3:.1f} CPU-ms",
    ]


def compute_catalogue_drops(recommender: Recommender, plan: LeaveOneOutPlan) -> dict[str, np.ndarray]:
    """Returns, for each item of the file, the log-probability over the catalogue that it loses without each item of the
    history.
    """
    n_items = recommender.describe()["n_items"]
    return compute_drops(recommender.answer([question._replace(k=n_items) for question in plan.requests]))


def compare_drops(
    plan: LeaveOneOutPlan, explanations: Sequence[Reason], drops: dict[str, np.ndarray]
) -> list[tuple[float, ...]]:
    """For each reason the drop without the named item, without the newest one, the mean without another one,
    and the fraction of the others that reach the threshold.
    """
    rows: list[tuple[float, ...]] = []
    for item, because, _ in explanations:
        if because is not None:
            named = plan.left_out.index(because)
            others = np.delete(drops[item], named)
            rows.append((drops[item][named], drops[item][0], others.mean(), (others >= THRESHOLD).mean()))
    return rows


def _make_request(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a user of the data as arguments of `recommend`."""
    return {"history": row.pop("history"), "user": row.pop("user", None), "context": row}
