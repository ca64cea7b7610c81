"""What a run folder tells of itself: figures, learning curves, times, and the settings that are not the defaults."""

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
FOLDERS = ("data.folder", "hydra")


def read(run: Run, name: str) -> Json:
    """What `name`.json holds, nothing where there is none."""
    return run.read_json(name) if (run.folder / f"{name}.json").exists() else {}


def list_length(metrics: Json) -> int:
    """10 where it was asked for, else the longest."""
    lengths = [int(name[5:]) for name in metrics.get("test", {}) if name.startswith("ndcg@") and "/" not in name]
    return 10 if 10 in lengths or not lengths else max(lengths)


def figures(run: Run, metrics: Json) -> list[Json]:
    """A row for the model and each baseline that ran: its test metrics, and the interval of NDCG; the best first."""
    if "test" not in metrics:
        return []
    k = list_length(metrics)
    ran = {name: of["test"] for name, of in metrics.get("baselines", {}).items() if isinstance(of, dict)}
    rows: list[Json] = []
    for name, of in {get_model_name(run.config): metrics["test"], **ran}.items():
        own = {metric: of[f"{metric}@{k}"] for metric in METRICS if f"{metric}@{k}" in of}
        rows.append({"name": name, "model": not rows, **own, "low": of[f"ndcg@{k}/low"], "high": of[f"ndcg@{k}/high"]})
    return sorted(rows, key=lambda row: -row["ndcg"])


def not_run(metrics: Json) -> list[str]:
    """Why baselines did not run."""
    return [of for of in metrics.get("baselines", {}).values() if isinstance(of, str)]


def curves(run: Run) -> dict[str, dict[str, list[float]]]:
    """By what the CSV logger wrote, such as train/loss, its epochs and values; where a resumed run wrote an epoch
    again, as it was written last.
    """
    paths = sorted(run.folder.glob("csv/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    frames = [frame for path in paths if not (frame := _csv(path)).empty]
    if not frames:
        return {}
    table = pd.concat(frames).groupby("epoch").last()
    found: dict[str, dict[str, list[float]]] = {}
    for name in table.columns.drop("step", errors="ignore"):
        own = table[name].dropna()
        if len(own):
            found[str(name)] = {"epoch": [int(n) for n in own.index], "value": own.astype(float).tolist()}
    return found


def changed(run: Run) -> dict[str, list[Any]]:
    """Settings that are not those of `recsys train` with the same model and data: name → [default, the run's]."""
    own = flatten_settings(OmegaConf.to_container(run.config), "")
    words = [f"model={get_model_name(run.config)}"]
    words += [f"data={name}" for name in _data_files(run.config)[:1]]
    ours = GlobalHydra.instance().is_initialized()  # inside a command
    with nullcontext() if ours else initialize_config_dir(str(config_dir()), version_base="1.3"):
        defaults = flatten_settings(OmegaConf.to_container(compose("train", words)), "")
    names = [name for name in own if not name.startswith(FOLDERS) and "${" not in str(defaults.get(name))]
    return {name: [defaults.get(name), own[name]] for name in names if own[name] != defaults.get(name)}


def _data_files(config: DictConfig) -> list[str]:
    """The choices of data= that read such a source as the run's, that of its own name first."""
    found = []
    for path in sorted((config_dir() / "data").glob("*.yaml")):
        source = OmegaConf.select(OmegaConf.load(path), "data.source._target_")
        if source == config.data.source._target_:
            found.append(path.stem)
    return sorted(found, key=lambda name: name != config.data.name)


def _csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
