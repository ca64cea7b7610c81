"""Runs side by side: those of one split in one table, the best on validation first."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from recsys.errors import ConfigError
from recsys.run import Run

ASIDE = ("baselines.", "logger.", "data.folder", "threads", "resume", "export", "trainer.enable_", "trainer.log_")
"""beginnings of settings that change no metric of the run's own model"""

RANKED = ("metrics", "validation")
"""files of a run that was ranked, and of a trial, which was ranked on validation alone"""


def leaderboard(runs: str, metric: str, out: str | None) -> list[str]:
    """A table for each split among the runs below the folder `runs`: validation, which picks, and test with its
    interval, training time, and the settings in which runs of a model differ; baselines as one run has them. Trials of
    a sweep are there with validation and its interval alone. All rows go into a CSV `out`. Raises ConfigError where no
    run has been ranked.
    """
    folders = sorted({path.parent for name in RANKED for path in Path(runs).rglob(f"{name}.json")})
    found = [Run.open(folder) for folder in folders if _is_run(folder)]
    if not found:
        raise ConfigError(f"no run below '{runs}' has been ranked; recsys train leaves one")
    try:
        table = pd.DataFrame([_row(run, Path(runs), metric) for run in found])
    except json.JSONDecodeError as error:
        raise ConfigError(f"a metrics.json or timing.json below '{runs}' is no JSON: {error}") from error
    settings = {name: comparable_settings(run.config) for name, run in zip(table["run"], found, strict=True)}
    parts = [_ranked(part, settings) for _, part in table.groupby("split", sort=False)]
    if out is not None:
        pd.concat(parts).to_csv(out, index=False)
    return [line for part, own in zip(parts, _by_split(found), strict=True) for line in _lines(part, own, metric)]


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").exists()


def _ranking(run: Run) -> dict[str, Any]:
    name = next(name for name in RANKED if (run.folder / f"{name}.json").exists())
    return run.read_json(name)


def _row(run: Run, root: Path, metric: str) -> dict[str, Any]:
    config, metrics = run.config, _ranking(run)
    validation, test = metrics["validation"], metrics.get("test", {})
    if metric not in validation:
        raise ConfigError(f"'{run.folder}' has no {metric}; it has: {', '.join(sorted(validation))}")
    timing = run.read_json("timing") if (run.folder / "timing.json").exists() else {}
    return {
        "run": str(run.folder.relative_to(root)),
        "data": config.data.name,
        "split": metrics["split_hash"][:12],
        "model": str(config.model._target_).split(".")[-2],
        "validation": validation[metric],
        "validation_low": validation.get(f"{metric}/low"),
        "validation_high": validation.get(f"{metric}/high"),
        "test": test.get(metric),
        "low": test.get(f"{metric}/low"),
        "high": test.get(f"{metric}/high"),
        "epochs": timing.get("epochs"),
        "cpu_s": timing.get("cpu_s_train"),
    }


def comparable_settings(config: DictConfig) -> dict[str, Any]:
    """The settings of a run that tell its metrics, by their dotted names."""
    every = flatten_settings(OmegaConf.to_container(config), "")
    return {name: value for name, value in every.items() if not name.startswith(ASIDE) and "_target_" not in name}


def flatten_settings(node: Any, path: str) -> dict[str, Any]:
    """Every setting below a node by its dotted name."""
    if not isinstance(node, Mapping):
        return {path: node}
    inner = [flatten_settings(child, f"{path}.{name}".lstrip(".")) for name, child in node.items()]
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
    return " ".join(f"{name}={_short(settings[run][name])}" for name in names)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _by_split(runs: list[Run]) -> list[Run]:
    """The first run of each split, in the order in which they were found; one beside baselines, if there is any."""
    first: dict[str, Run] = {}
    for run in runs:
        split = _ranking(run)["split_hash"]
        if split not in first or (_ranking(run)["baselines"] and not _ranking(first[split])["baselines"]):
            first[split] = run
    return list(first.values())


def _lines(part: pd.DataFrame, first: Run, metric: str) -> list[str]:
    trials = {"95 % of validation": _intervals(part, "validation_")} if part["test"].isna().any() else {}
    shown = pd.DataFrame(
        {
            "model": part["model"],
            f"validation {metric}": part["validation"].map("{:.4f}".format),
            **trials,
            f"test {metric}": part["test"].map(lambda value: "" if pd.isna(value) else f"{value:.4f}"),
            "95 %": _intervals(part, ""),
            "epochs": part["epochs"].map(lambda n: "" if pd.isna(n) else f"{n:.0f}"),
            "CPU-s": part["cpu_s"].map(lambda seconds: "" if pd.isna(seconds) else f"{seconds:,.0f}"),
            "run": part["run"],
            "settings": part["settings"],
        }
    )
    heading = f"{part['data'].iloc[0]}, split {part['split'].iloc[0]}: {len(part)} runs, the best on validation first"
    return [heading, shown.to_string(index=False), *_baselines(first, metric), ""]


def _intervals(part: pd.DataFrame, of: str) -> list[str]:
    ends = zip(part[f"{of}low"], part[f"{of}high"], strict=True)
    return ["" if pd.isna(low) else f"{low:.4f}-{high:.4f}" for low, high in ends]


def _baselines(run: Run, metric: str) -> list[str]:
    """A line of the baselines that stood beside a run, the best first."""
    ranked = _ranking(run)["baselines"]
    ran = {name: found["test"] for name, found in ranked.items() if isinstance(found, dict)}  # else why it did not
    test = {name: found[metric] for name, found in ran.items() if metric in found}
    best = sorted(test, key=lambda name: -test[name])
    return [f"baselines, test {metric}: " + ", ".join(f"{name} {test[name]:.4f}" for name in best)] if test else []
