"""`recsys drift`: whether what a champion sees, shows and earns is still what it learned from."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from recsys.apps.lifecycle.drift import Found, drift, dropped
from recsys.apps.lifecycle.drift_inputs import Windows, inputs, recommended
from recsys.apps.lifecycle.feedback import DAY, Feedback
from recsys.apps.lifecycle.refresh import refreshed
from recsys.apps.lifecycle.registry import Registry
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import DataError
from recsys.run import Run
from recsys.serving.recommender import Recommender

ALARM = 3
"""the exit status where something has drifted"""


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
    """Hold the newest `days` of a log against the last `reference` days that the champion learned of; settings as in
    configs/drift.yaml. Ends with status 3 on an alarm. Raises ConfigError and DataError.
    """
    champion = Registry(registry).champion()
    split = OmegaConf.to_container(champion.config.split, resolve=True)
    dataset = load_dataset(refreshed(champion, path, changes, split))  # type: ignore[arg-type]
    then, now = _windows(champion, dataset, days, reference)
    levels = level / (2 if feedback else 1)  # of each of two families
    alarms = 0
    for found in _drifted(champion, dataset, then, now, levels, smallest, n_resamples, users):
        alarms += found.alarm
        said = f"{found.name}: psi {found.psi:.3f}, p {found.p_value:.3f}, {found.overlap:.3f} in common"
        yield f"{'DRIFT' if found.alarm else 'ok   '} {said}"
    if feedback:
        log = Feedback.read(Path(feedback))
        yield from (
            f"      N@10 of feedback until {_day(end)}: {mean:.4f} ({n:,})" for end, mean, n in log.rolling(days)
        )
        old, new = log.between(0, log.times[-1] + 1 - days * DAY), log.between(log.times[-1] + 1 - days * DAY, np.inf)
        if len(old):
            p_value = dropped(old, new, n_resamples)
            alarms += p_value <= levels
            said = f"N@10 of feedback: {old.mean():.4f} to {new.mean():.4f}, p {p_value:.3f}"
            yield f"{'DRIFT' if p_value <= levels else 'ok   '} {said}"
    yield f"{alarms} alarms; {_day(then[0])} to {_day(then[1])} beside {_day(now[0])} to {_day(now[1])}"
    if alarms:
        sys.exit(ALARM)


def _windows(champion: Run, dataset: Dataset, days: float, reference: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """The seconds at which either window begins and ends; DataError where nothing is new."""
    until = json.loads((champion.folder / "version.json").read_text())["trained_until"]
    if until is None or dataset.timestamps is None:
        raise DataError("drift needs times; name the column under data.columns.timestamp")
    end = int(dataset.timestamps.max()) + 1
    if end <= until:
        raise DataError(f"no event is newer than what the champion learned of, until {_day(until)}; name a longer log")
    return (int(until - reference * DAY), until), (max(until, int(end - days * DAY)), end)


def _drifted(
    champion: Run,
    dataset: Dataset,
    then: tuple[int, int],
    now: tuple[int, int],
    level: float,
    smallest: float,
    n_resamples: int,
    users: int,
) -> list[Found]:
    """The inputs, and what is shown to `users` customers of either window; 0 shows none."""
    vocabulary = champion.folder / "vocabulary"
    n_items = json.loads((vocabulary / "metadata.json").read_text())["n_items"]
    known = pq.read_table(vocabulary / "items.parquet", columns=["n"])["n"].to_numpy()[:n_items]
    windows = Windows.of(dataset, then, now)
    if windows.current.all() or not windows.current.any():
        raise DataError(f"no event lies from {_day(then[0])} to {_day(then[1])}; raise reference or days")
    found = inputs(dataset, windows, np.concatenate([[0], known]))
    split = level / 2 if users else level
    seen = drift(found, windows.current, split, smallest, n_resamples)
    if not users:
        return seen
    draw = np.random.default_rng(0).permutation(len(windows.user))
    blocks = np.concatenate([draw[windows.current[draw] == side][:users] for side in (False, True)])
    file = Recommender(champion.folder / "model.onnx")
    shown = recommended(dataset, windows, file, (then[1], now[1]), blocks)
    return seen + drift([shown], windows.current[blocks], split, smallest, n_resamples)


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
