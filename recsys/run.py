"""The run folder with everything that a run writes; each file is written completely or not at all."""

import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from recsys.config.moved import update_targets
from recsys.errors import ConfigError
from recsys.extras import distribution

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "torchmetrics",
    "numpy",
    "pandas",
    "duckdb",
    "narwhals",
)
STALE = "stale.json"
VALIDATED = "validated"
"""name of the weights that validation chose, in runs that were then retrained with validation's events"""


class Run:
    """A folder with config.yaml, last.ckpt, model.pt, data.json, metrics.json, training.json, timing.json and
    environment.json.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / "last.ckpt"

    @classmethod
    def create(cls, folder: Path, config: DictConfig) -> "Run":
        """A new run; ConfigError if the folder already holds one."""
        if (folder / "config.yaml").exists():
            raise ConfigError(
                f"'{folder}' already holds a run; continue it with resume={folder} or choose another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder)
        run.write_config(config)
        run.write_json("environment", describe_environment())
        return run

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """An existing run; ConfigError if the folder is not a run folder."""
        if not (Path(folder) / "config.yaml").exists():
            raise ConfigError(f"'{folder}' is not a run folder: it has no config.yaml")
        return cls(Path(folder))

    def create_subfolder(self, name: str) -> "Run":
        """A folder inside this one for the checkpoints of a second training."""
        (self.folder / name).mkdir(exist_ok=True)
        return Run(self.folder / name)

    def discard(self) -> None:
        """Remove the files of `create`, and the folder if it is then empty, unless training has saved weights."""
        if not self.checkpoint.exists() and not self.has_weights():
            for name in ("config.yaml", "environment.json", "data.json"):
                (self.folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # it holds other files
                self.folder.rmdir()

    @property
    def config(self) -> DictConfig:
        """All settings of the run, with today's paths of classes that have moved."""
        settings = OmegaConf.to_container(OmegaConf.load(self.folder / "config.yaml"))
        config = OmegaConf.create(update_targets(settings))
        assert isinstance(config, DictConfig)
        return config

    def write_config(self, config: DictConfig) -> None:
        """Write config.yaml, without passwords."""
        write_text(self.folder / "config.yaml", hide_passwords(OmegaConf.to_yaml(config, resolve=True)))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write `name`.json."""
        write_text(self.folder / f"{name}.json", json.dumps(content, indent=1) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """The content of `name`.json."""
        content: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        return content

    def save_weights(self, state: dict[str, torch.Tensor], name: str = "model") -> None:
        """Write `name`.pt, which holds only tensors; OSError if it cannot be written."""
        with atomic(self.folder / f"{name}.pt") as path:
            try:
                torch.save(state, path)
            except RuntimeError as error:  # torch raises it for a full disk
                raise OSError(f"'{self.folder}/{name}.pt' cannot be written ({str(error).splitlines()[0]})") from error

    def has_weights(self, name: str = "model") -> bool:
        """Whether `name`.pt exists."""
        return (self.folder / f"{name}.pt").exists()

    def refuse_stale(self) -> None:
        """Raises ConfigError for a run that `recsys forget` has marked as stale."""
        if (self.folder / STALE).exists():
            raise ConfigError(f"'{self.folder}' is stale: {self.read_json('stale')['why']}; train again")

    def load_weights(self, name: str = "model") -> dict[str, torch.Tensor]:
        """The best weights; ConfigError if the run is stale or has not saved any."""
        self.refuse_stale()
        if not self.has_weights(name):
            raise ConfigError(f"'{self.folder}' has no {name}.pt: its training has not finished")
        path = self.folder / f"{name}.pt"
        weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return weights


@contextmanager
def atomic(path: Path) -> Generator[Path, None, None]:
    """A context with a temporary path in the same folder, which replaces `path` unless the block raises."""
    temporary = Path(tempfile.mktemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def hide_passwords(text: str) -> str:
    """The text with *** for passwords in addresses such as dialect://user:password@host; names of variables such as
    $PASSWORD stay.
    """
    return re.sub(r"(://[^\s:/@]*:|[?&]password=)(?!\$)(?:[^\s/]+(?=@)|(?<=password=)[^\s&'\"]+)", r"\1***", text)


def describe_environment() -> dict[str, Any]:
    """Versions, hardware and command, on which results depend in addition to the settings."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {"recsys": _version(distribution()), **{name: _version(name) for name in PACKAGES}},
        "commit": _commit(),
        "command": [hide_passwords(word) for word in sys.argv],
    }


def peak_rss_mb() -> int:
    """The peak memory of this process, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 if sys.platform == "linux" else 1024**2)


def anonymous_rss_mb() -> int | None:
    """The memory of this process in MiB, without pages of mapped files, which the system may reclaim; None where the
    system does not report it (Linux does).
    """
    status = Path("/proc/self/status")
    match = re.search(r"RssAnon:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(match[1]) // 1024 if match else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    result = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or None
