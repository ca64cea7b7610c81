"""What two windows of a log are compared by: users, history lengths, times, items, features and recommended items.

N events, B blocks (one user in one window), V values of an input.
"""

from dataclasses import dataclass

import numpy as np

from recsys.apps.lifecycle.drift import DriftInput
from recsys.data.dataset import Dataset
from recsys.data.features import derive_time_feature
from recsys.export.user_histories import UserHistories
from recsys.serving.recommender import Recommender

MAX_VALUES = 50
"""values with a column of their own; the rarer ones share one column"""
TENTHS = np.arange(1, 10) / 10


@dataclass(frozen=True)
class WindowEvents:
    """The events of two windows.

    `positions` (N,) are their rows in the dataset and `blocks` (N,) their blocks; `users` (B,) and `is_current` (B,)
    describe each block.
    """

    positions: np.ndarray
    blocks: np.ndarray
    users: np.ndarray
    is_current: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, reference: tuple[int, int], current: tuple[int, int]) -> "WindowEvents":
        """Returns the events from the first second of each window up to, but not including, its last one."""
        assert dataset.timestamps is not None, "windows are cut by time"
        times = np.asarray(dataset.timestamps)
        inside = [(times >= start) & (times < end) for start, end in (reference, current)]
        positions = np.flatnonzero(inside[0] | inside[1])
        owners = np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))[positions]
        pairs, blocks = np.unique(2 * owners + inside[1][positions], return_inverse=True)
        return cls(positions, blocks, pairs // 2, pairs % 2 == 1)


def collect_inputs(dataset: Dataset, windows: WindowEvents, training_counts: np.ndarray) -> list[DriftInput]:
    """Returns history lengths, hours, items, events and features; `training_counts` (I+1,) is how often the champion's
    training data had each of its items.
    """
    positions, items = windows.positions, np.asarray(dataset.items)[windows.positions]
    history_lengths = positions - dataset.offsets[windows.users[windows.blocks]]
    tenths = np.zeros(int(items.max(initial=0)) + 1, dtype=np.int64)
    n = min(len(training_counts), len(tenths))
    tenths[:n] = assign_popularity_tenths(training_counts)[:n]
    unknown = (items >= len(training_counts)).astype(np.int64)
    assert dataset.timestamps is not None
    hours = derive_time_feature("hour", np.asarray(dataset.timestamps)[positions], dataset.metadata["zone"])
    inputs = [
        count_values("history length", np.log2(history_lengths + 1).astype(np.int64)[:, None] + 1, windows.blocks),
        count_values("item popularity", tenths[items][:, None] + 1, windows.blocks),
        count_values("unknown items", unknown[:, None] + 1, windows.blocks),
        count_values("hour", hours[:, None], windows.blocks),
    ]
    if dataset.events is not None:
        inputs.append(count_values("event", dataset.events[positions] + 1, windows.blocks))
    return inputs + _collect_features(dataset, windows, items)


def _collect_features(dataset: Dataset, windows: WindowEvents, items: np.ndarray) -> list[DriftInput]:
    inputs = []
    rows = {"user": windows.users[windows.blocks] + 1, "item": items, "context": windows.positions}
    for table, index in rows.items():
        for name, encoder in dataset.encoders[table].items():
            if encoder.kind == "vector":
                continue  # belongs to the items, which are counted already
            column = dataset.features(table)[name][index]
            codes = assign_tenths(column) if encoder.kind == "number" else column
            several = codes.shape[1] > 1  # padded with 0; in a single column, 0 is the value "unknown"
            inputs.append(count_values(f"{table}.{name}", codes if several else codes + 1, windows.blocks))
    return inputs


def collect_recommendations(
    dataset: Dataset,
    windows: WindowEvents,
    champion: Recommender,
    ends: tuple[int, int],
    blocks: np.ndarray,
    k: int = 10,
) -> DriftInput:
    """Returns the items that the champion recommends to the users of `blocks` at the `ends` of the two windows."""
    past = UserHistories(dataset, champion.describe()["inputs"])
    raw_users = dataset.raw_users().take(windows.users[blocks]).to_pylist()
    codes: dict[str, int] = {}
    lists = np.zeros((len(blocks), k), dtype=np.int64)
    for row, (user, current) in enumerate(zip(raw_users, windows.is_current[blocks], strict=True)):
        values = past.read(str(user), ends[int(current)])
        context = {name: value for name, value in values.items() if name not in ("history", "user")}
        if "timestamp" in champion.describe()["inputs"]:
            context["timestamp"] = ends[int(current)]
        items = champion.answer([champion.question(values["history"], values.get("user"), context, k)])[0].items
        lists[row, : len(items)] = [codes.setdefault(item, len(codes) + 1) for item in items]
    return count_values("recommended items", lists, np.arange(len(blocks)))


def count_values(name: str, codes: np.ndarray, blocks: np.ndarray) -> DriftInput:
    """Returns how often each block had each of the codes (N, W), where 0 is padding; the rarest values share a
    column.
    """
    rows, slots = np.nonzero(codes)
    values, inverse, counts = np.unique(codes[rows, slots], return_inverse=True, return_counts=True)
    columns = np.minimum(np.argsort(np.argsort(-counts, kind="stable")), MAX_VALUES)
    table = np.zeros((int(blocks.max(initial=0)) + 1, min(len(values), MAX_VALUES + 1)))
    np.add.at(table, (blocks[rows], columns[inverse]), 1)
    return DriftInput(name, table)


def assign_popularity_tenths(counts: np.ndarray) -> np.ndarray:
    """Returns (I+1,) the tenth of all events that each item belongs to, 1 for the most popular; 0 for padding and for
    items without an event.
    """
    order = np.argsort(-counts, kind="stable")
    before = (np.cumsum(counts[order]) - counts[order]) / max(counts.sum(), 1)
    tenths = np.zeros(len(counts), dtype=np.int64)
    tenths[order] = 1 + (10 * before).astype(np.int64)
    return np.where(counts > 0, tenths, 0)


def assign_tenths(column: np.ndarray) -> np.ndarray:
    """Returns for numbers (N, 1) the tenth of the column that each lies in, from 0."""
    return np.searchsorted(np.quantile(column, TENTHS), column).astype(np.int64)
