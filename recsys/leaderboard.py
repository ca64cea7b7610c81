"""Runs side by side: those of one split in one table, the best on validation first."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from recsys.config import ConfigError
from recsys.run import Run

ASIDE = ("baselines.", "logger.", "data.folder", "threads", "resume", "export", "trainer.enable_", "trainer.log_")
"""beginnings of settings that change no metric of the run's own model"""


def leaderboard(runs: str, metric: str, out: str | None) -> list[str]:
    """A table for each split among the runs below the folder `runs`: validation, which picks, and test with its
    interval, training time, and the settings in which runs of a model differ; baselines as the first run has them. All
    rows go into a CSV `out`. Raises ConfigError where no run has been ranked.
    """
    found = [Run.open(path.parent) for path in sorted(Path(runs).rglob("metrics.json")) if _is_run(path.parent)]
    if not found:
        raise ConfigError(f"no run below '{runs}' has been ranked; recsys train leaves one")
    try:
        table = pd.DataFrame([_row(run, Path(runs), metric) for run in found])
    except json.JSONDecodeError as error:
        raise ConfigError(f"a metrics.json or timing.json below '{runs}' is no JSON: {error}") from error
    settings = dict(zip(table["run"], map(_settings, found), strict=True))
    parts = [_ranked(part, settings) for _, part in table.groupby("split", sort=False)]
    if out is not None:
        pd.concat(parts).to_csv(out, index=False)
    return [line for part, own in zip(parts, _by_split(found), strict=True) for line in _lines(part, own, metric)]


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").exists()


def _row(run: Run, root: Path, metric: str) -> dict[str, Any]:
    config, metrics = run.config, run.read_json("metrics")
    if metric not in metrics["test"]:
        raise ConfigError(f"'{run.folder}' has no {metric}; it has: {', '.join(sorted(metrics['test']))}")
    timing = run.read_json("timing") if (run.folder / "timing.json").exists() else {}
    return {
        "run": str(run.folder.relative_to(root)),
        "data": config.data.name,
        "split": metrics["split_hash"][:12],
        "model": str(config.model._target_).split(".")[-2],
        "validation": metrics["validation"][metric],
        "test": metrics["test"][metric],
        "low": metrics["test"].get(f"{metric}/low"),
        "high": metrics["test"].get(f"{metric}/high"),
        "epochs": timing.get("epochs"),
        "cpu_s": timing.get("cpu_s_train"),
    }


def _settings(run: Run) -> dict[str, Any]:
    found = flat(OmegaConf.to_container(run.config), "")
    return {name: value for name, value in found.items() if not name.startswith(ASIDE) and "_target_" not in name}


def flat(node: Any, path: str) -> dict[str, Any]:
    """Every setting below a node by its whole name, such as model.dim."""
    if not isinstance(node, Mapping):
        return {path: node}
    inner = [flat(child, f"{path}.{name}".lstrip(".")) for name, child in node.items()]
    return {name: value for each in inner for name, value in each.items()}


def _ranked(part: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of one split, the best on validation first, each with the settings of its own."""
    part = part.sort_values("validation", ascending=False, kind="stable")
    return part.assign(settings=[_own(run, part, settings) for run in part["run"]])


def _own(run: str, part: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]]) -> str:
    """The settings of a run that not all runs of its model share."""
    model = part.set_index("run")["model"]
    others = [settings[other] for other in part["run"] if model[other] == model[run]]
    names = [name for name in settings[run] if len({str(other.get(name)) for other in others}) > 1]
    return " ".join(f"{name}={settings[run][name]}" for name in names)


def _by_split(runs: list[Run]) -> list[Run]:
    """The first run of each split, in the order in which they were found."""
    first: dict[str, Run] = {}
    for run in runs:
        first.setdefault(run.read_json("metrics")["split_hash"], run)
    return list(first.values())


def _lines(part: pd.DataFrame, first: Run, metric: str) -> list[str]:
    ends = zip(part["low"], part["high"], strict=True)
    shown = pd.DataFrame(
        {
            "model": part["model"],
            f"validation {metric}": part["validation"].map("{:.4f}".format),
            f"test {metric}": part["test"].map("{:.4f}".format),
            "95 %": ["" if pd.isna(low) else f"{low:.4f}-{high:.4f}" for low, high in ends],
            "epochs": part["epochs"].map(lambda n: "" if pd.isna(n) else f"{n:.0f}"),
            "CPU-s": part["cpu_s"].map(lambda seconds: "" if pd.isna(seconds) else f"{seconds:,.0f}"),
            "run": part["run"],
            "settings": part["settings"],
        }
    )
    heading = f"{part['data'].iloc[0]}, split {part['split'].iloc[0]}: {len(part)} runs, the best on validation first"
    return [heading, shown.to_string(index=False), *_baselines(first, metric), ""]


def _baselines(run: Run, metric: str) -> list[str]:
    """A line of the baselines that stood beside a run, the best first."""
    ranked = run.read_json("metrics")["baselines"]
    ran = {name: found["test"] for name, found in ranked.items() if isinstance(found, dict)}  # else why it did not
    test = {name: found[metric] for name, found in ran.items() if metric in found}
    best = sorted(test, key=lambda name: -test[name])
    return [f"baselines, test {metric}: " + ", ".join(f"{name} {test[name]:.4f}" for name in best)] if test else []
