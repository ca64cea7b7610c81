"""Processes that somebody else has started, as torchrun does: all run the same command, the first one writes."""

import os
from typing import Any

from torch import distributed


def process_rank() -> int:
    """This process's number, 0 for the one that writes the run, and for one that is alone."""
    return int(os.environ.get("RANK", 0)) if launcher_settings() else 0


def launcher_settings() -> dict[str, Any]:
    """What torchrun has decided of the trainer's settings; nothing where it did not start this process."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return {}
    here, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return {"strategy": "ddp", "devices": here, "num_nodes": world // here}


def leave_process_group() -> None:
    """Leave the others, who would else be waited for by every metric that follows."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
