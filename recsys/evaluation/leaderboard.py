"""Compares runs: one table per split, the best on validation first."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from recsys.errors import ConfigError
from recsys.models.build import get_model_name
from recsys.run import Run

IGNORED_SETTINGS = (
    "baselines.",
    "logger.",
    "data.folder",
    "threads",
    "resume",
    "export",
    "trainer.enable_",
    "trainer.log_",
)
"""prefixes of settings that do not affect the metrics of the run's model"""

METRIC_FILES = ("metrics", "validation")
"""JSON files of an evaluated run, and of a sweep's trial, which is evaluated only on validation"""


def compare_runs(runs: str, metric: str, out: str | None) -> list[str]:
    """Text with a table for each split of the runs below the folder `runs`, at any depth.

    It shows `metric` on validation, by which models are chosen, and on the test part with its interval, the training
    time, the settings in which runs of the same model differ, and the baselines of one run. Trials of a sweep have only
    validation with its interval. All rows are also written to the CSV file `out`. Raises ConfigError if no run has been
    evaluated.
    """
    evaluated = _find_evaluated_runs(Path(runs))
    if not evaluated:
        raise ConfigError(f"no run below '{runs}' has been evaluated; recsys train creates one")
    try:
        rows = pd.DataFrame([_make_row(run, Path(runs), metric) for run in evaluated])
    except json.JSONDecodeError as error:
        raise ConfigError(f"a metrics.json or timing.json below '{runs}' is not valid JSON: {error}") from error
    settings = {name: comparable_settings(run.config) for name, run in zip(rows["run"], evaluated, strict=True)}
    tables = [_sort_with_settings(table, settings) for _, table in rows.groupby("split", sort=False)]
    if out is not None:
        pd.concat(tables).to_csv(out, index=False)
    runs_with_baselines = _choose_runs_for_baselines(evaluated)
    return [
        line
        for table, run in zip(tables, runs_with_baselines, strict=True)
        for line in _format_table(table, run, metric)
    ]


def baselines_that_ran(metrics: Mapping[str, Any], part: str) -> dict[str, dict[str, Any]]:
    """The metrics on `part` of the baselines that ran, from the content of metrics.json, which has the reason why a
    baseline did not run as text.
    """
    return {name: parts[part] for name, parts in metrics["baselines"].items() if isinstance(parts, dict)}


def _find_evaluated_runs(root: Path) -> list[Run]:
    folders = sorted({path.parent for name in METRIC_FILES for path in root.rglob(f"{name}.json")})
    return [Run.open(folder) for folder in folders if (folder / "config.yaml").exists()]


def _read_metrics(run: Run) -> dict[str, Any]:
    name = next(name for name in METRIC_FILES if (run.folder / f"{name}.json").exists())
    return run.read_json(name)


def _make_row(run: Run, root: Path, metric: str) -> dict[str, Any]:
    config, metrics = run.config, _read_metrics(run)
    validation, test = metrics["validation"], metrics.get("test", {})
    if metric not in validation:
        raise ConfigError(f"'{run.folder}' has no {metric}; it has: {', '.join(sorted(validation))}")
    timing = run.read_json("timing") if (run.folder / "timing.json").exists() else {}
    return {
        "run": str(run.folder.relative_to(root)),
        "data": config.data.name,
        "split": metrics["split_hash"][:12],
        "model": get_model_name(config),
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
    """The settings of a run that affect its metrics, by their dotted names."""
    settings = flatten_settings(OmegaConf.to_container(config), "")
    return {
        name: value
        for name, value in settings.items()
        if not name.startswith(IGNORED_SETTINGS) and "_target_" not in name
    }


def flatten_settings(node: Any, path: str) -> dict[str, Any]:
    """Every setting below a node by its dotted name."""
    if not isinstance(node, Mapping):
        return {path: node}
    children = [flatten_settings(child, f"{path}.{name}".lstrip(".")) for name, child in node.items()]
    return {name: value for settings in children for name, value in settings.items()}


def _sort_with_settings(table: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of one split, the best on validation first, with the settings that distinguish each run."""
    table = table.sort_values("validation", ascending=False, kind="stable")
    return table.assign(settings=[_format_differences(run, table, settings) for run in table["run"]])


def _format_differences(run: str, table: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]]) -> str:
    """The settings of a run that differ among the runs of its model."""
    model = table.set_index("run")["model"]
    same_model = [settings[other] for other in table["run"] if model[other] == model[run]]
    names = [name for name in settings[run] if len({str(other.get(name)) for other in same_model}) > 1]
    return " ".join(f"{name}={_format_value(settings[run][name])}" for name in names)


def _format_value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _choose_runs_for_baselines(runs: list[Run]) -> list[Run]:
    """One run per split, in the order in which splits occur: the first with baselines, else the first."""
    chosen: dict[str, Run] = {}
    for run in runs:
        split = _read_metrics(run)["split_hash"]
        if split not in chosen or (_read_metrics(run)["baselines"] and not _read_metrics(chosen[split])["baselines"]):
            chosen[split] = run
    return list(chosen.values())


def _format_table(table: pd.DataFrame, run_with_baselines: Run, metric: str) -> list[str]:
    has_trials = table["test"].isna().any()
    columns = {
        "model": table["model"],
        f"validation {metric}": table["validation"].map("{:.4f}".format),
        **({"95% of validation": _format_intervals(table, "validation_")} if has_trials else {}),
        f"test {metric}": _format_column(table["test"], ".4f"),
        "95%": _format_intervals(table, ""),
        "epochs": _format_column(table["epochs"], ".0f"),
        "CPU-s": _format_column(table["cpu_s"], ",.0f"),
        "run": table["run"],
        "settings": table["settings"],
    }
    heading = (
        f"{table['data'].iloc[0]}, split {table['split'].iloc[0]}: {len(table)} runs, the best on validation first"
    )
    baselines = _format_baselines(run_with_baselines, metric)
    return [heading, pd.DataFrame(columns).to_string(index=False), *baselines, ""]


def _format_column(values: "pd.Series[Any]", style: str) -> "pd.Series[str]":
    return values.map(lambda value: "" if pd.isna(value) else format(value, style))


def _format_intervals(table: pd.DataFrame, prefix: str) -> list[str]:
    bounds = zip(table[f"{prefix}low"], table[f"{prefix}high"], strict=True)
    return ["" if pd.isna(low) else f"{low:.4f}-{high:.4f}" for low, high in bounds]


def _format_baselines(run: Run, metric: str) -> list[str]:
    """A line with the baselines of a run, the best first; empty without baselines."""
    baselines = baselines_that_ran(_read_metrics(run), "test")
    values = {name: metrics[metric] for name, metrics in baselines.items() if metric in metrics}
    best_first = sorted(values, key=lambda name: -values[name])
    line = ", ".join(f"{name} {values[name]:.4f}" for name in best_first)
    return [f"baselines, test {metric}: {line}"] if values else []
