"""The commands as functions, for notebooks and scripts: settings are the same words as on the command line."""

from datetime import datetime
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from recsys.config.settings import check_command_settings, check_required_settings, check_settings, compose_settings
from recsys.export.export import export_run
from recsys.run import Run
from recsys.training.train import train_run as train_job


def train(*words: str, folder: str | Path | None = None) -> Run:
    """The run that `recsys train WORDS` leaves in `folder` (none: runs/DATE/TIME), with its file; the table is printed.

    Raises ConfigError and DataError.
    """
    run = Run.create(Path(folder or f"runs/{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"), settings("train", *words))
    train_job(run)
    if run.config.export:
        export_run(run, settings("export", f"run={run.folder}"))
    return run


def settings(command: str, *words: str) -> DictConfig:
    """The settings of `recsys COMMAND WORDS`, checked; raises ConfigError."""
    config = compose_settings(command, *words)
    check_required_settings(config)
    check_command_settings(config, command)
    check_settings(config)
    OmegaConf.set_readonly(config, True)
    return config


def figures(run: Run, part: str = "test") -> pd.DataFrame:
    """The figures of a run on `test` or `validation`, a row for the model and for each baseline, a column a metric; the
    ends of 95 % intervals are in `ndcg@10/low` and `ndcg@10/high`.
    """
    metrics = run.read_json("metrics")
    ran = {name: parts[part] for name, parts in metrics["baselines"].items() if isinstance(parts, dict)}
    rows = {str(run.config.model._target_).split(".")[-2]: metrics[part], **ran}
    table = pd.DataFrame.from_dict(rows, orient="index").drop(columns="segments", errors="ignore")
    return table.sort_values("ndcg@10" if "ndcg@10" in table else table.columns[0], ascending=False)


def segments(run: Run, column: str, part: str = "test") -> pd.DataFrame:
    """The figures of a run's model for each value of a column of `data.features.segments`."""
    return pd.DataFrame.from_dict(run.read_json("metrics")[part]["segments"][column], orient="index")
