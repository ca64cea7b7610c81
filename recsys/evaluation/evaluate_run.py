"""`recsys evaluate`: evaluates a trained run again."""

from pathlib import Path

from recsys.data.load import load_dataset
from recsys.data.preparation.segments import read_segment_file
from recsys.evaluation.compare import compare_with_baselines
from recsys.models.build import restore
from recsys.run import VALIDATED, Run


def evaluate_run(run: Run, segments: str | None = None) -> None:
    """Evaluate the run's model and the baselines again, and write evaluation.json to the run folder.

    Metrics are also computed for each segment of `segments`, a file of `recsys segment`.
    """
    dataset = load_dataset(run.config)
    if segments is not None:
        users = [str(user) for user in dataset.raw_users().to_pylist()]
        dataset.extra_segments["user.segment"] = read_segment_file(users, Path(segments))
    validated = restore(run.config, dataset, run, VALIDATED) if run.has_weights(VALIDATED) else None
    metrics, text = compare_with_baselines(restore(run.config, dataset, run), dataset, run.config, validated)
    run.write_json("evaluation", metrics)
    print(text)  # noqa: T201 - the command's answer
