"""Timing in alternation: the compared calls run in turns, so that a busy machine slows all of them alike."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def time_in_turns(calls: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 3) -> dict[str, float]:
    """Returns the median CPU milliseconds of each call; every round makes each call once."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + warm_up):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if number >= warm_up:
                spent[name].append(time.process_time() - start)
    return {name: float(np.median(times)) * 1e3 for name, times in spent.items()}


def describe_load() -> str:
    """Returns how busy the machine is: processes that wanted a core in the last minute, and cores."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
