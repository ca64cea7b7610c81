"""What of two windows of a log is held side by side: who comes, after how much, when, for what, and what is shown.

N events, B blocks (a user in a window), V values of an input.
"""

from dataclasses import dataclass

import numpy as np

from recsys.apps.lifecycle.drift import Input
from recsys.data.dataset import Dataset
from recsys.data.features import derive_time_feature
from recsys.export.user_histories import Past
from recsys.serving.recommender import Recommender

LARGEST = 50
"""values that stand alone; the rarer ones share one"""
TENTHS = np.arange(1, 10) / 10


@dataclass(frozen=True)
class Windows:
    """The events of two windows: where they stand, to which block each belongs, and of each block the user and whether
    it is of the current window.
    """

    at: np.ndarray
    block: np.ndarray
    user: np.ndarray
    current: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, reference: tuple[int, int], current: tuple[int, int]) -> "Windows":
        """Events from the first second of a window up to before its last one."""
        assert dataset.timestamps is not None, "windows are cut by time"
        times = np.asarray(dataset.timestamps)
        inside = [(times >= start) & (times < end) for start, end in (reference, current)]
        at = np.flatnonzero(inside[0] | inside[1])
        owner = np.repeat(np.arange(dataset.n_users), np.diff(dataset.offsets))[at]
        pairs, block = np.unique(2 * owner + inside[1][at], return_inverse=True)
        return cls(at, block, pairs // 2, pairs % 2 == 1)


def inputs(dataset: Dataset, windows: Windows, known: np.ndarray) -> list[Input]:
    """Histories, hours, items and features; `known` (I+1) is how often the champion learned of each of its items."""
    at, items = windows.at, np.asarray(dataset.items)[windows.at]
    place = at - dataset.offsets[windows.user[windows.block]]
    rank = np.zeros(int(items.max(initial=0)) + 1, dtype=np.int64)
    n = min(len(known), len(rank))
    rank[:n] = popularity(known)[:n]
    found = [
        counted("history length", np.log2(place + 1).astype(np.int64)[:, None] + 1, windows.block),
        counted("item popularity", rank[items][:, None] + 1, windows.block),
        counted("unknown items", (items >= len(known)).astype(np.int64)[:, None] + 1, windows.block),
    ]
    assert dataset.timestamps is not None
    hours = derive_time_feature("hour", np.asarray(dataset.timestamps)[at], dataset.metadata["zone"])
    found.append(counted("hour", hours[:, None], windows.block))
    if dataset.events is not None:
        found.append(counted("event", dataset.events[at] + 1, windows.block))
    rows = {"user": windows.user[windows.block] + 1, "item": items, "context": at}
    for kind, index in rows.items():
        for name, encoder in dataset.encoders[kind].items():
            if encoder.kind == "vector":
                continue  # of the very items that are counted above
            column = dataset.features(kind)[name][index]
            codes = tenths(column) if encoder.kind == "number" else column
            several = codes.shape[1] > 1  # filled up with 0; alone, 0 is a value: unknown
            found.append(counted(f"{kind}.{name}", codes if several else codes + 1, windows.block))
    return found


def recommended(
    dataset: Dataset, windows: Windows, champion: Recommender, until: tuple[int, int], blocks: np.ndarray, k: int = 10
) -> Input:
    """What the champion shows the users of some blocks at the ends of the two windows, `until`."""
    past = Past(dataset, champion.describe()["inputs"])
    raw = dataset.raw_users().take(windows.user[blocks]).to_pylist()
    number: dict[str, int] = {}
    rows = np.zeros((len(blocks), k), dtype=np.int64)
    for row, (user, current) in enumerate(zip(raw, windows.current[blocks], strict=True)):
        given = past.of(str(user), until[int(current)])
        context = {name: value for name, value in given.items() if name not in ("history", "user")}
        if "timestamp" in champion.describe()["inputs"]:
            context["timestamp"] = until[int(current)]
        items = champion.answer([champion.question(given["history"], given.get("user"), context, k)])[0].items
        rows[row, : len(items)] = [number.setdefault(item, len(number) + 1) for item in items]
    return counted("recommended items", rows, np.arange(len(blocks)))


def counted(name: str, codes: np.ndarray, block: np.ndarray) -> Input:
    """How often each block had each of the codes (N, W), 0 being none; the rarest values share a column."""
    rows, slots = np.nonzero(codes)
    values, column, counts = np.unique(codes[rows, slots], return_inverse=True, return_counts=True)
    place = np.minimum(np.argsort(np.argsort(-counts, kind="stable")), LARGEST)
    table = np.zeros((int(block.max(initial=0)) + 1, min(len(values), LARGEST + 1)))
    np.add.at(table, (block[rows], place[column]), 1)
    return Input(name, table)


def popularity(counts: np.ndarray) -> np.ndarray:
    """(I+1,) the tenth of all events that each item belongs to, 1 for the most popular; 0 for padding and for items
    that never occurred.
    """
    order = np.argsort(-counts, kind="stable")
    before = (np.cumsum(counts[order]) - counts[order]) / max(counts.sum(), 1)
    found = np.zeros(len(counts), dtype=np.int64)
    found[order] = 1 + (10 * before).astype(np.int64)
    return np.where(counts > 0, found, 0)


def tenths(column: np.ndarray) -> np.ndarray:
    """(N, 1) numbers as tenths from 0."""
    return np.searchsorted(np.quantile(column, TENTHS), column).astype(np.int64)
