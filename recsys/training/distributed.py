"""Processes started by torchrun: all run the same command, and only the first one writes the run."""

import os
from typing import Any

from torch import distributed


def process_rank() -> int:
    """The rank of this process; 0 writes the run, and is also the rank of a single process."""
    return int(os.environ.get("RANK", 0)) if launcher_settings() else 0


def launcher_settings() -> dict[str, Any]:
    """The trainer's settings that torchrun decides; empty if torchrun did not start this process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    local_size, world_size = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return {"strategy": "ddp", "devices": local_size, "num_nodes": world_size // local_size}


def leave_process_group() -> None:
    """Leave the other processes; otherwise every later metric would wait for them."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
