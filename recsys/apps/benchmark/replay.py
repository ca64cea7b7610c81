"""One answer of our file beside one of RePlay's compiled SASRec in the same runtime, with the NumPy that its user has
to write around it: ids to numbers, padding, a mask, seen items, the best ten, numbers to ids.

Both have 3,413 items, 64 dimensions, 2 blocks, 2 heads and at most 200 events; docs/benchmarks.md says how RePlay's
file is made.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from recsys.apps.benchmark.artefact import Names, asked, catalogue, clustered, names_of, session_of
from recsys.apps.benchmark.timing import cpu_ms, load
from recsys.export.export import exported
from recsys.serving.recommender import Recommender

MAX_HISTORY = 200
OURS = ("model.onnx", "Recommender")


def measure(file: str, n_items: int, rounds: int) -> list[str]:
    """Lines with the CPU time of an answer in milliseconds for three lengths of history."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        dataset = catalogue(n_items, Path(folder))
        model = clustered(dataset, MAX_HISTORY)
        proto, _ = exported(model, dataset, "float16", False, 100, {"model": "sasrec"})
        content, names = proto.SerializeToString(), names_of(dataset)
    session, recommender, replay = session_of(content), Recommender(content), around(Path(file), names)
    said = []
    for length in (200, 50, 10):
        history = names[np.random.default_rng(0).integers(1, n_items, length)].tolist()
        feeds = asked(np.array([history], object))
        calls = {
            "RePlay + NumPy": partial(replay, history),
            "model.onnx": partial(session.run, ["items", "scores"], feeds),
            "Recommender": partial(recommender.recommend, history, exclude_seen=True),
        }
        spent = cpu_ms(calls, rounds)
        said.append(f"{length} events: " + ", ".join(f"{name} {ms:.3f} CPU-ms" for name, ms in spent.items()))
        said += [f"{length} events, {name} ÷ RePlay: {spent[name] / spent['RePlay + NumPy']:.2f}" for name in OURS]
    return [*said, load()]


def around(file: Path, names: Names) -> Callable[[list[str]], tuple[list[str], list[float]]]:
    """What a user of RePlay's file writes to get from raw ids to raw ids."""
    session = session_of(file.read_bytes())
    ids, mask = (value.name for value in session.get_inputs())
    raw = names[1:]
    number = {name: place for place, name in enumerate(raw)}

    def answer(history: list[str]) -> tuple[list[str], list[float]]:
        known = [number[name] for name in history if name in number]
        newest = known[-MAX_HISTORY:]
        padded = np.full((1, MAX_HISTORY), len(raw), np.int64)
        real = np.zeros((1, MAX_HISTORY), bool)
        if newest:
            padded[0, -len(newest) :], real[0, -len(newest) :] = newest, True
        scores = session.run(None, {ids: padded, mask: real})[0][0, : len(raw)].copy()
        scores[known] = -np.inf
        best = np.argpartition(-scores, 10)[:10]
        best = best[np.argsort(-scores[best])]
        return raw[best].tolist(), scores[best].tolist()

    return answer
