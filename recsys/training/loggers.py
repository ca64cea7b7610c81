"""Experiment trackers, which get the settings and the metrics of each epoch in addition to the run folder."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from omegaconf import OmegaConf
from pytorch_lightning.loggers import MLFlowLogger, WandbLogger
from typing_extensions import override

from recsys.extras import require_extra
from recsys.run import write_text


class MLflow(MLFlowLogger):
    """Logs to a run on an MLflow server or in a database file, named like the run folder; resuming continues it."""

    def __init__(self, save_dir: Path, experiment: str = "recsys", uri: str = "sqlite:///mlflow.db") -> None:
        with require_extra("mlflow"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from packages that MLflow imports
            import alembic  # noqa: F401
            import mlflow  # noqa: F401

            run_id = _read_run_id(save_dir, "mlflow")
            super().__init__(experiment, run_name=str(save_dir), tracking_uri=uri, run_id=run_id)
            self.log_hyperparams(_read_settings(save_dir))
            write_text(save_dir / "mlflow.id", str(self.run_id))

    @override
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # MLflow rejects names such as ndcg@10: it becomes ndcg_10
        legal = {re.sub(r"[^\w/. -]", "_", name): value for name, value in metrics.items()}
        super().log_metrics(legal, step)


class WandB(WandbLogger):
    """Logs to a run of Weights & Biases, named like the run folder; resuming continues the same run. An `offline` run
    stays in the folder until `wandb sync`.
    """

    def __init__(self, save_dir: Path, project: str = "recsys", offline: bool = False) -> None:
        with require_extra("wandb"):
            import wandb

        run_id = _read_run_id(save_dir, "wandb") or uuid4().hex
        quiet = wandb.Settings(silent=True, console="off")
        super().__init__(str(save_dir), save_dir, project=project, offline=offline, id=run_id, settings=quiet)
        self.log_hyperparams(_read_settings(save_dir))
        write_text(save_dir / "wandb.id", run_id)

    @override
    def finalize(self, status: str) -> None:
        super().finalize(status)
        # the next training in this process starts a run of its own
        self.experiment.finish(exit_code=0 if status == "success" else 1)


def _read_run_id(folder: Path, tracker: str) -> str | None:
    """The tracker's id of this folder's run, if it was interrupted before."""
    path = folder / f"{tracker}.id"
    return path.read_text() if path.exists() else None


def _read_settings(folder: Path) -> dict[str, Any]:
    """The run's settings, resolved and without passwords."""
    settings: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    return dict(settings)
