"""`recsys drift`: compares what a champion sees, recommends and earns now with what it learned from."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from recsys.apps.lifecycle.drift import DriftInput, DriftResult, compare_windows, compute_drop_p_value
from recsys.apps.lifecycle.drift_inputs import WindowEvents, collect_inputs, collect_recommendations
from recsys.apps.lifecycle.feedback import DAY, Feedback
from recsys.apps.lifecycle.refresh import compose_refresh_config
from recsys.apps.lifecycle.registry import Registry
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import DataError
from recsys.run import Run
from recsys.serving.recommender import Recommender

ALARM = 3
"""the exit status if something has drifted"""
Window = tuple[int, int]
"""the seconds at which a window begins and ends"""


def watch(
    registry: str,
    path: str | None,
    changes: dict[str, Any],
    days: float,
    reference: float,
    level: float,
    smallest: float,
    n_resamples: int,
    users: int,
    feedback: str | None,
) -> Iterator[str]:
    """Yields one line per input: compares the newest `days` of a log with the last `reference` days that the champion
    learned from. The settings are those of configs/drift.yaml.

    Exits with status 3 on an alarm. Raises ConfigError and DataError.
    """
    champion = Registry(registry).open_champion()
    split = OmegaConf.to_container(champion.config.split, resolve=True)
    dataset = load_dataset(compose_refresh_config(champion, path, changes, split))  # type: ignore[arg-type]
    before, now = _find_windows(champion, dataset, days, reference)
    family_level = level / (2 if feedback else 1)  # the level of each of two families of tests
    alarms = 0
    for result in _detect_drift(champion, dataset, before, now, family_level, smallest, n_resamples, users):
        alarms += result.alarm
        yield _format_result(result)
    if feedback:
        log = Feedback.read(Path(feedback))
        for end, mean, n in log.rolling_means(days):
            yield f"      NDCG@10 of feedback until {_format_day(end)}: {mean:.4f} ({n:,} lists)"
        alarm, line = _compare_feedback(log, days, family_level, n_resamples)
        alarms += alarm
        yield from line
    yield (
        f"{alarms} alarms; {_format_day(now[0])} to {_format_day(now[1])} compared with "
        f"{_format_day(before[0])} to {_format_day(before[1])}"
    )
    if alarms:
        sys.exit(ALARM)


def _format_result(result: DriftResult) -> str:
    figures = f"PSI {result.psi:.3f}, p {result.p_value:.3f}, {result.overlap:.1%} in common"
    return f"{'DRIFT' if result.alarm else 'ok   '} {result.name}: {figures}"


def _compare_feedback(log: Feedback, days: float, level: float, n_resamples: int) -> tuple[bool, list[str]]:
    """Returns whether NDCG@10 fell in the newest `days`, and a line about it; no line without earlier feedback."""
    start = log.times[-1] + 1 - days * DAY
    old, new = log.between(0, start), log.between(start, np.inf)
    if not len(old):
        return False, []
    p_value = compute_drop_p_value(old, new, n_resamples)
    change = f"NDCG@10 of feedback: {old.mean():.4f} to {new.mean():.4f}, p {p_value:.3f}"
    return p_value <= level, [f"{'DRIFT' if p_value <= level else 'ok   '} {change}"]


def _find_windows(champion: Run, dataset: Dataset, days: float, reference: float) -> tuple[Window, Window]:
    """Returns the reference window and the current one; DataError if no event is new."""
    training_end = json.loads((champion.folder / "version.json").read_text())["trained_until"]
    if training_end is None or dataset.timestamps is None:
        raise DataError("drift needs times; name the column under data.columns.timestamp")
    end = int(dataset.timestamps.max()) + 1
    if end <= training_end:
        raise DataError(
            f"no event is newer than the champion's training data, which end on {_format_day(training_end)}; "
            "name a longer log"
        )
    return (int(training_end - reference * DAY), training_end), (max(training_end, int(end - days * DAY)), end)


def _detect_drift(
    champion: Run,
    dataset: Dataset,
    before: Window,
    now: Window,
    level: float,
    smallest: float,
    n_resamples: int,
    users: int,
) -> list[DriftResult]:
    """Returns the drift of the inputs and of the items recommended to `users` customers of each window; 0: no items."""
    windows = WindowEvents.of(dataset, before, now)
    if windows.is_current.all() or not windows.is_current.any():
        raise DataError(
            f"no event lies from {_format_day(before[0])} to {_format_day(before[1])}; raise reference or days"
        )
    inputs = collect_inputs(dataset, windows, _read_training_counts(champion))
    input_level = level / 2 if users else level
    results = compare_windows(inputs, windows.is_current, input_level, smallest, n_resamples)
    if not users:
        return results
    recommended, blocks = _recommend_to_sample(champion, dataset, windows, (before[1], now[1]), users)
    return results + compare_windows([recommended], windows.is_current[blocks], input_level, smallest, n_resamples)


def _recommend_to_sample(
    champion: Run, dataset: Dataset, windows: WindowEvents, ends: tuple[int, int], users: int
) -> tuple[DriftInput, np.ndarray]:
    """Returns what the champion recommends to a random sample of blocks from each window, and the blocks."""
    order = np.random.default_rng(0).permutation(len(windows.users))
    blocks = np.concatenate([order[windows.is_current[order] == current][:users] for current in (False, True)])
    file = Recommender(champion.folder / "model.onnx")
    return collect_recommendations(dataset, windows, file, ends, blocks), blocks


def _read_training_counts(champion: Run) -> np.ndarray:
    """Returns (I+1,) how often the champion's training data had each of its items; 0 for padding."""
    vocabulary = champion.folder / "vocabulary"
    n_items = json.loads((vocabulary / "metadata.json").read_text())["n_items"]
    counts = pq.read_table(vocabulary / "items.parquet", columns=["n"])["n"].to_numpy()[:n_items]
    return np.concatenate([[0], counts])


def _format_day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
