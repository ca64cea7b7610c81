"""The jobs behind the commands: train a run, rank it again."""

import time
from pathlib import Path

from recsys.data.preparation.segments import read_segment_file
from recsys.evaluation.compare import compare
from recsys.models.base import ClosedForm
from recsys.run import Run, peak_rss_mb
from recsys.training.dataset import remember
from recsys.training.distributed import rank
from recsys.training.fit import fit, load_dataset, restore
from recsys.training.refit import VALIDATED, refitted


def train(run: Run) -> None:
    """Train the run's model, or go on where it stopped, and rank it beside the baselines. Of several processes that
    torchrun started, the first one ranks.
    """
    started = time.perf_counter()
    run.refuse_stale()
    dataset = load_dataset(run.config)
    remember(run, dataset)
    validated, model = refitted(run.config, dataset, run) if run.config.refit else (None, fit(run.config, dataset, run))
    if rank() > 0:
        return
    metrics, text = compare(model, dataset, run.config, validated)
    if isinstance(model, ClosedForm):  # fitted to all that came before the test
        run.save_weights(model.state_dict())
    run.write_json("metrics", metrics)
    print(text)  # noqa: T201 - the command's answer
    print(f"run: {run.folder}  ({time.perf_counter() - started:.0f} s, {peak_rss_mb():,} MiB at most)")  # noqa: T201


def evaluate(run: Run, segments: str | None = None) -> None:
    """Rank the run's model and the baselines again, also by `segments`, a file of `recsys segment`; leaves
    evaluation.json in the run.
    """
    dataset = load_dataset(run.config)
    if segments is not None:
        users = [str(raw) for raw in dataset.raw_users().to_pylist()]
        dataset.extra_segments["user.segment"] = read_segment_file(users, Path(segments))
    validated = restore(run.config, dataset, run, VALIDATED) if run.has_weights(VALIDATED) else None
    metrics, text = compare(restore(run.config, dataset, run), dataset, run.config, validated)
    run.write_json("evaluation", metrics)
    print(text)  # noqa: T201 - the command's answer
