"""One answer of our file compared with one of RePlay's compiled SASRec in the same runtime.

RePlay's file needs NumPy around it: ids to numbers, padding, a mask, seen items, the best ten, numbers to ids. Both
models have 3,413 items, 64 dimensions, 2 blocks, 2 heads and at most 200 events; docs/benchmarks.md shows how RePlay's
file is made.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from recsys.apps.benchmark.artefact import (
    RawIds,
    list_raw_ids,
    make_catalogue,
    make_clustered_model,
    make_request_arrays,
    open_session,
)
from recsys.apps.benchmark.timing import describe_load, time_in_turns
from recsys.export.export import build_model_file
from recsys.serving.recommender import Recommender

MAX_HISTORY = 200
OURS = ("model.onnx", "Recommender")


def measure(file: str, n_items: int, rounds: int) -> list[str]:
    """Returns lines with the CPU milliseconds of an answer for three history lengths."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        dataset = make_catalogue(n_items, Path(folder))
        model = make_clustered_model(dataset, MAX_HISTORY)
        proto, _ = build_model_file(model, dataset, "float16", False, 100, {"model": "sasrec"})
        content, raw_ids = proto.SerializeToString(), list_raw_ids(dataset)
    session, recommender, replay = open_session(content), Recommender(content), wrap_replay_file(Path(file), raw_ids)
    lines = []
    for length in (200, 50, 10):
        history = raw_ids[np.random.default_rng(0).integers(1, n_items, length)].tolist()
        feeds = make_request_arrays(np.array([history], object))
        calls = {
            "RePlay + NumPy": partial(replay, history),
            "model.onnx": partial(session.run, ["items", "scores"], feeds),
            "Recommender": partial(recommender.recommend, history, exclude_seen=True),
        }
        spent = time_in_turns(calls, rounds)
        lines.append(f"{length} events: " + ", ".join(f"{name} {ms:.3f} CPU-ms" for name, ms in spent.items()))
        lines += [f"{length} events, {name} ÷ RePlay: {spent[name] / spent['RePlay + NumPy']:.2f}" for name in OURS]
    return [*lines, describe_load()]


def wrap_replay_file(file: Path, raw_ids: RawIds) -> Callable[[list[str]], tuple[list[str], list[float]]]:
    """Returns what a user of RePlay's file writes around it: a function from a history of raw ids to the ten best raw
    ids and their scores.
    """
    session = open_session(file.read_bytes())
    ids_input, mask_input = (value.name for value in session.get_inputs())
    items = raw_ids[1:]
    numbers = {item: number for number, item in enumerate(items)}

    def answer(history: list[str]) -> tuple[list[str], list[float]]:
        seen = [numbers[item] for item in history if item in numbers]
        newest = seen[-MAX_HISTORY:]
        padded = np.full((1, MAX_HISTORY), len(items), np.int64)
        mask = np.zeros((1, MAX_HISTORY), bool)
        if newest:
            padded[0, -len(newest) :], mask[0, -len(newest) :] = newest, True
        scores = session.run(None, {ids_input: padded, mask_input: mask})[0][0, : len(items)].copy()
        scores[seen] = -np.inf
        best = np.argpartition(-scores, 10)[:10]
        best = best[np.argsort(-scores[best])]
        return items[best].tolist(), scores[best].tolist()

    return answer
