"""`recsys train`: trains a run's model and compares it with the baselines."""

import time

from omegaconf import DictConfig, OmegaConf

from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.data.run_record import record_dataset
from recsys.evaluation.compare import compare_with_baselines
from recsys.models.base import DataSpec
from recsys.models.build import resolve_model_settings
from recsys.run import Run, peak_rss_mb
from recsys.training.distributed import process_rank
from recsys.training.fit import fit_model
from recsys.training.refit import fit_and_refit


def train_run(run: Run) -> None:
    """Train the run's model, or continue where training stopped, and compare it with the baselines.

    If torchrun started several processes, only the first one ranks.
    """
    started = time.perf_counter()
    run.refuse_stale()
    dataset = load_dataset(run.config)
    record_dataset(run, dataset)
    config = resolve_run_settings(run.config, dataset)
    run.write_config(config)
    if config.refit:
        validated, model = fit_and_refit(config, dataset, run)
    else:
        validated, model = None, fit_model(config, dataset, run)
    if process_rank() > 0:
        return
    metrics, text = compare_with_baselines(model, dataset, config, validated)
    if not run.has_weights():  # of a model that was not trained but fitted to all events before the test
        run.save_weights(model.state_dict())
    run.write_json("metrics", metrics)
    print(text)  # noqa: T201 - the command's answer
    print(f"run: {run.folder}  ({time.perf_counter() - started:.0f} s, {peak_rss_mb():,} MiB peak memory)")  # noqa: T201


def resolve_run_settings(config: DictConfig, dataset: Dataset) -> DictConfig:
    """The run's settings; settings of the model that are null get the values that the data decide."""
    spec = DataSpec.from_dataset(dataset, config.batches.max_history)
    resolved = OmegaConf.merge(config, {"model": resolve_model_settings(config.model, spec)})
    assert isinstance(resolved, DictConfig)
    return resolved
