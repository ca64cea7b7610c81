"""The commands as functions, for notebooks and scripts; settings are the same words as on the command line."""

from datetime import datetime
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from recsys.config.settings import check_command_settings, check_required_settings, check_settings, compose_settings
from recsys.evaluation.leaderboard import baselines_that_ran
from recsys.export.export import export_run
from recsys.models.build import get_model_name
from recsys.run import Run
from recsys.training.train import train_run


def train(*words: str, folder: str | Path | None = None) -> Run:
    """The run that `recsys train WORDS` creates in `folder` (None: runs/DATE/TIME), exported; prints its table.

    Raises ConfigError and DataError.
    """
    config = compose_checked_settings("train", *words)
    run = Run.create(Path(folder or f"runs/{datetime.now():%Y-%m-%d/%H-%M-%S-%f}"), config)
    train_run(run)
    if run.config.export:
        export_run(run, compose_checked_settings("export", f"run={run.folder}"))
    return run


def compose_checked_settings(command: str, *words: str) -> DictConfig:
    """The checked settings of `recsys COMMAND WORDS`; raises ConfigError."""
    config = compose_settings(command, *words)
    check_required_settings(config)
    check_command_settings(config, command)
    check_settings(config)
    OmegaConf.set_readonly(config, True)
    return config


def read_metrics_table(run: Run, part: str = "test") -> pd.DataFrame:
    """The metrics of a run on `test` or `validation`: one row for the model and each baseline, one column per metric.

    The bounds of 95% intervals are in columns such as `ndcg@10/low` and `ndcg@10/high`.
    """
    metrics = run.read_json("metrics")
    rows = {get_model_name(run.config): metrics[part], **baselines_that_ran(metrics, part)}
    table = pd.DataFrame.from_dict(rows, orient="index").drop(columns="segments", errors="ignore")
    return table.sort_values("ndcg@10" if "ndcg@10" in table else table.columns[0], ascending=False)


def read_segments_table(run: Run, column: str, part: str = "test") -> pd.DataFrame:
    """The metrics of a run's model for each value of a column of `data.features.segments`."""
    return pd.DataFrame.from_dict(run.read_json("metrics")[part]["segments"][column], orient="index")
