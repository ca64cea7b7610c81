"""The run folder: everything a run leaves behind, each file written whole or not at all."""

import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

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
"""weights of the model that validation chose, where the model was then retrained with validation's events"""


class Run:
    """One folder with config.yaml, last.ckpt, model.pt, data.json, metrics.json, training.json, timing.json,
    environment.json.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / "last.ckpt"

    @classmethod
    def create(cls, folder: Path, config: DictConfig) -> "Run":
        """A new run; ConfigError if the folder already holds one."""
        if (folder / "config.yaml").exists():
            raise ConfigError(f"'{folder}' already holds a run; continue it with resume={folder} or choose another")
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder)
        run.write_config(config)
        run.write_json("environment", environment())
        return run

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """An existing run; ConfigError if the folder is none."""
        if not (Path(folder) / "config.yaml").exists():
            raise ConfigError(f"'{folder}' is no run folder: it has no config.yaml")
        return cls(Path(folder))

    def second(self, name: str) -> "Run":
        """A folder inside for the checkpoints of another training."""
        (self.folder / name).mkdir(exist_ok=True)
        return Run(self.folder / name)

    def discard(self) -> None:
        """Remove what `create` wrote, unless training has left something; the folder too if it is then empty."""
        if not self.checkpoint.exists() and not self.has_weights():
            for name in ("config.yaml", "environment.json", "data.json"):
                (self.folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # holds something that is not ours
                self.folder.rmdir()

    @property
    def config(self) -> DictConfig:
        """The run's full configuration."""
        config = OmegaConf.load(self.folder / "config.yaml")
        assert isinstance(config, DictConfig)
        return config

    def write_config(self, config: DictConfig) -> None:
        """Write config.yaml, without passwords."""
        write_text(self.folder / "config.yaml", without_passwords(OmegaConf.to_yaml(config, resolve=True)))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write `name`.json."""
        write_text(self.folder / f"{name}.json", json.dumps(content, indent=1) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """What `name`.json holds."""
        content: dict[str, Any] = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        return content

    def save_weights(self, state: dict[str, torch.Tensor], name: str = "model") -> None:
        """Write `name`.pt: tensors only, loads with weights_only=True; OSError if it cannot be written."""
        with atomic(self.folder / f"{name}.pt") as path:
            try:
                torch.save(state, path)
            except RuntimeError as error:  # which torch raises for a full disk
                raise OSError(f"'{self.folder}/{name}.pt' cannot be written ({str(error).splitlines()[0]})") from error

    def has_weights(self, name: str = "model") -> bool:
        """Whether `name`.pt is there."""
        return (self.folder / f"{name}.pt").exists()

    def refuse_stale(self) -> None:
        """Raises ConfigError for a run that `recsys forget` has marked."""
        if (self.folder / STALE).exists():
            raise ConfigError(f"'{self.folder}' is stale: {self.read_json('stale')['why']}; train again")

    def load_weights(self, name: str = "model") -> dict[str, torch.Tensor]:
        """The best weights; ConfigError if the run has not saved any, or is stale."""
        self.refuse_stale()
        if not self.has_weights(name):
            raise ConfigError(f"'{self.folder}' has no {name}.pt: its training has not finished")
        path = self.folder / f"{name}.pt"
        weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return weights


class atomic:  # noqa: N801 - reads as a verb in `with atomic(path)`
    """A temporary path beside `path` that takes its name when the block ends well."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = Path(tempfile.mktemp(prefix=f".{path.name}-", dir=path.parent))

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.temporary.replace(self.path)
        finally:
            self.temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def without_passwords(text: str) -> str:
    """The text with *** for passwords in addresses such as dialect://user:password@host, but for names such as
    $PASSWORD.
    """
    return re.sub(r"(://[^\s:/@]*:|[?&]password=)(?!\$)(?:[^\s/]+(?=@)|(?<=password=)[^\s&'\"]+)", r"\1***", text)


def environment() -> dict[str, Any]:
    """What a figure depends on besides the configuration."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {"recsys": _version(distribution()), **{name: _version(name) for name in PACKAGES}},
        "commit": _commit(),
        "command": [without_passwords(word) for word in sys.argv],
    }


def peak_rss_mb() -> int:
    """The most memory this process ever held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 if sys.platform == "linux" else 1024**2)


def own_rss_mb() -> int | None:
    """The memory this process holds now without pages of mapped files, which the system takes back when it wants, in
    MiB; None where the system does not say (it does on Linux).
    """
    status = Path("/proc/self/status")
    held = re.search(r"RssAnon:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(held[1]) // 1024 if held else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None
