"""Trackers of experiments, told metrics by epoch and the configuration; the run folder stays what counts."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from omegaconf import OmegaConf
from pytorch_lightning.loggers import MLFlowLogger, WandbLogger

from recsys.extras import require_extra
from recsys.run import write_text


class MLflow(MLFlowLogger):
    """A run on an MLflow server or in a database file, named like the folder; a resumed run goes on in it."""

    def __init__(self, save_dir: Path, experiment: str = "recsys", uri: str = "sqlite:///mlflow.db") -> None:
        with require_extra("mlflow"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of packages behind it
            import alembic  # noqa: F401
            import mlflow  # noqa: F401

            known = _known(save_dir, "mlflow")
            super().__init__(experiment, run_name=str(save_dir), tracking_uri=uri, run_id=known)
            self.log_hyperparams(_settings(save_dir))
            write_text(save_dir / "mlflow.id", str(self.run_id))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Under names that MLflow takes: ndcg@10 is ndcg_10."""
        legal = {re.sub(r"[^\w/. -]", "_", name): value for name, value in metrics.items()}
        super().log_metrics(legal, step)


class WandB(WandbLogger):
    """A run of Weights & Biases, named like the folder; a resumed run goes on in it. Offline it stays in the folder
    until `wandb sync`.
    """

    def __init__(self, save_dir: Path, project: str = "recsys", offline: bool = False) -> None:
        with require_extra("wandb"):
            import wandb

        known = _known(save_dir, "wandb") or uuid4().hex
        quiet = wandb.Settings(silent=True, console="off")
        super().__init__(str(save_dir), save_dir, project=project, offline=offline, id=known, settings=quiet)
        self.log_hyperparams(_settings(save_dir))
        write_text(save_dir / "wandb.id", known)

    def finalize(self, status: str) -> None:
        """Close the run: the next training of this process has one of its own."""
        super().finalize(status)
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def _known(folder: Path, tracker: str) -> str | None:
    """What the tracker called the run of this folder before it was cut."""
    path = folder / f"{tracker}.id"
    return path.read_text() if path.exists() else None


def _settings(folder: Path) -> dict[str, Any]:
    """The run's configuration, resolved and without passwords."""
    settings: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    return dict(settings)
