"""Whether the item that an explanation names is what the recommendation rests on.

For each recommended item with a reason: how much of its log-probability, over the whole catalogue, goes when the named
item is left out of the history, when the newest one is, and when any other one is.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recsys.apps.benchmark.timing import load
from recsys.data.load import load_dataset
from recsys.export.user_histories import Past
from recsys.run import Run
from recsys.serving.explain import REFERENCE, THRESHOLD, Plan, Reason, drops_of, planned, reasons
from recsys.serving.recommender import Recommender


def measure(run: str, users: int, k: int, seed: int) -> list[str]:
    """Lines with the share of items that have a reason, mean drops, their ratios, and the time of an explanation."""
    recommender = Recommender(Path(run) / "model.onnx")
    past = Past(load_dataset(Run.open(run).config), recommender.describe()["inputs"])
    drawn = np.random.default_rng(seed).permutation(sorted(past.number))[:users].tolist()
    newcomer = recommender.recommend(k=REFERENCE).items
    spent: list[float] = []
    found: list[tuple[float, ...]] = []
    for user in drawn:
        asked = _asked(past.of(user))
        items = recommender.recommend(**asked, k=k, exclude_seen=True).items
        start = time.process_time()
        plan = planned(recommender, items, newcomer, **asked)
        said = reasons(plan, recommender.answer(plan.questions, plan.allow))
        spent.append(time.process_time() - start)
        if len(plan.left_out) > 1:
            found += compared(plan, said, in_catalogue(recommender, plan))
    if not found:
        return [f"none of the {k} items of {len(drawn)} lists has a reason", load()]
    named, last, other, cleared = np.mean(found, axis=0)
    beside = f"named ÷ another {named / other:.1f}" if other > 0 else "another takes nothing away"
    return [
        f"{len(found) / (k * len(drawn)):.2f} of the {k} items of {len(drawn)} lists have a reason",
        f"mean drop of log-probability without the named item {named:.3f}, the last {last:.3f}, another {other:.3f}",
        f"named ÷ last {named / last:.2f}, {beside}",
        f"{cleared:.3f} of the other items clear the threshold of {THRESHOLD} too",
        f"reasons for a list: median {np.median(spent) * 1e3:.1f} CPU-ms",
        load(),
    ]


def in_catalogue(recommender: Recommender, plan: Plan) -> dict[str, np.ndarray]:
    """By item of the file, what its log-probability among all of them loses without each item of the history."""
    n_items = recommender.describe()["n_items"]
    return drops_of(recommender.answer([question._replace(k=n_items) for question in plan.questions]))


def compared(plan: Plan, said: Sequence[Reason], drops: dict[str, np.ndarray]) -> list[tuple[float, ...]]:
    """For each reason the drop without the named item, without the last, the mean without another one, and the share
    of the others that clear the threshold.
    """
    rows: list[tuple[float, ...]] = []
    for item, because, _ in said:
        if because is not None:
            named = plan.left_out.index(because)
            others = np.delete(drops[item], named)
            rows.append((drops[item][named], drops[item][0], others.mean(), (others >= THRESHOLD).mean()))
    return rows


def _asked(row: dict[str, Any]) -> dict[str, Any]:
    """A user of the data as `recommend` is asked."""
    return {"history": row.pop("history"), "user": row.pop("user", None), "context": row}
