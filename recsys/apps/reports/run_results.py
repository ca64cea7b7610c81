"""What a run folder contains: test metrics, learning curves, and the settings that differ from the defaults."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from recsys.config.settings import config_dir
from recsys.evaluation.leaderboard import flatten_settings
from recsys.models.build import get_model_name
from recsys.run import Run

Json = dict[str, Any]
METRICS = ("ndcg", "hr", "recall", "mrr", "coverage", "gini", "popularity_lift")
IGNORED_SETTINGS = ("data.folder", "hydra")


def read_run_json(run: Run, name: str) -> Json:
    """The content of the run's `name`.json; empty where there is no such file."""
    return run.read_json(name) if (run.folder / f"{name}.json").exists() else {}


def choose_list_length(metrics: Json) -> int:
    """10 where the run reports it, else the longest list length that it reports."""
    lengths = [int(name[5:]) for name in metrics.get("test", {}) if name.startswith("ndcg@") and "/" not in name]
    return 10 if 10 in lengths or not lengths else max(lengths)


def collect_test_figures(run: Run, metrics: Json) -> list[Json]:
    """One row each for the model and the baselines that ran, with their test metrics and the interval of NDCG; the
    best first.
    """
    if "test" not in metrics:
        return []
    k = choose_list_length(metrics)
    tests = {get_model_name(run.config): metrics["test"]}
    tests |= {name: result["test"] for name, result in metrics.get("baselines", {}).items() if isinstance(result, dict)}
    rows: list[Json] = []
    for name, test in tests.items():
        figures = {metric: test[f"{metric}@{k}"] for metric in METRICS if f"{metric}@{k}" in test}
        interval = {"low": test[f"ndcg@{k}/low"], "high": test[f"ndcg@{k}/high"]}
        rows.append({"name": name, "model": not rows, **figures, **interval})
    return sorted(rows, key=lambda row: -row["ndcg"])


def list_skipped_baselines(metrics: Json) -> list[str]:
    """The reasons why baselines did not run."""
    return [result for result in metrics.get("baselines", {}).values() if isinstance(result, str)]


def read_learning_curves(run: Run) -> dict[str, dict[str, list[float]]]:
    """The epochs and values of each column of the CSV logger, such as train/loss; the last values of an epoch that a
    resumed run repeated.
    """
    paths = sorted(run.folder.glob("csv/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    frames = [frame for path in paths if not (frame := _read_csv(path)).empty]
    if not frames:
        return {}
    table = pd.concat(frames).groupby("epoch").last()
    curves: dict[str, dict[str, list[float]]] = {}
    for name in table.columns.drop("step", errors="ignore"):
        values = table[name].dropna()
        if len(values):
            curves[str(name)] = {"epoch": [int(n) for n in values.index], "value": values.astype(float).tolist()}
    return curves


def find_changed_settings(run: Run) -> dict[str, list[Any]]:
    """Settings that differ from those of `recsys train` with the same model and data: name → [default, the run's]."""
    settings = flatten_settings(OmegaConf.to_container(run.config), "")
    overrides = [f"model={get_model_name(run.config)}"]
    overrides += [f"data={name}" for name in _list_data_choices(run.config)[:1]]
    inside_command = GlobalHydra.instance().is_initialized()
    with nullcontext() if inside_command else initialize_config_dir(str(config_dir()), version_base="1.3"):
        defaults = flatten_settings(OmegaConf.to_container(compose("train", overrides)), "")
    names = [name for name in settings if not name.startswith(IGNORED_SETTINGS) and "${" not in str(defaults.get(name))]
    return {name: [defaults.get(name), settings[name]] for name in names if settings[name] != defaults.get(name)}


def _list_data_choices(config: DictConfig) -> list[str]:
    """The choices of data= that read the same type of source as the run, the one named like its data first."""
    choices = []
    for path in sorted((config_dir() / "data").glob("*.yaml")):
        source = OmegaConf.select(OmegaConf.load(path), "data.source._target_")
        if source == config.data.source._target_:
            choices.append(path.stem)
    return sorted(choices, key=lambda name: name != config.data.name)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
