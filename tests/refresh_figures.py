"""Cost and quality of a refresh compared with a full training: `python -m tests.refresh_figures FOLDER [WORD …]`.

MovieLens 100K: a champion learns from the first 90% of the events. Then the other events arrive, and it is refreshed or
a new model is trained, on all but the newest 10%, on which both are ranked. Needs RECSYS_DATA.
"""

import sys
import time
from pathlib import Path

import pandas as pd

from recsys.apps.lifecycle.commands import register
from recsys.apps.lifecycle.rank_files import rank_file
from recsys.apps.lifecycle.refresh import compose_refresh_config, train_challenger
from recsys.apps.lifecycle.registry import Registry, find_training_end
from recsys.data.load import load_dataset
from recsys.evaluation.evaluate import Ranking, evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, score_batch
from recsys.export.export import export_run
from recsys.run import Run
from recsys.training.fit import fit_model
from recsys.training.train import train_run
from tests.composed import composed

END = "1998-03-31T22:11:12Z"
"""the time until which the first 90% of the events happened"""
SEEDS = (1, 2, 3)


def make_champion(folder: Path, seed: int, words: list[str]) -> Registry:
    """Returns a registry whose champion learned from the events until END."""
    registry = Registry(folder / f"registry-{seed}")
    if registry.read_link("champion") is None:
        config = composed(
            "model=sasrec", "data=movielens_100k", "split=global_time", f"data.filters.end={END}", "threads=1",
            f"data.folder={folder}/data", "baselines=none", "logger=none", "trainer.enable_progress_bar=false",
            f"seed={seed}", *words,
        )  # fmt: skip
        run = Run.create(folder / f"champion-{seed}", config)
        train_run(run)
        export_run(run, composed(f"run={run.folder}", name="export"))
        list(register(str(run.folder), str(registry.folder), promote=True))
    return registry


def compare_refresh(
    folder: Path, seed: int, words: list[str], epochs: int = 8, ratio: float = 1.0, rate: float = 0.5
) -> dict[str, float]:
    """Returns NDCG@10 of the champion, the refreshed and the new model, and the CPU-seconds of the latter two."""
    registry = make_champion(folder, seed, words)
    champion, split = registry.open_champion(), composed("split=global_time").split
    config = compose_refresh_config(champion, None, {"data": {"filters": {"end": None}}}, split)
    dataset = load_dataset(config)
    since = find_training_end(load_dataset(champion.config))
    figures = {
        "seed": seed,
        "champion": rank_file(champion.folder / "model.onnx", dataset, None).ranking.metrics["ndcg@10"],
    }
    model = None
    for name in ("refresh", "full"):
        run = Run.create(folder / f"{name}-{seed}-{time.time_ns()}", config)
        start = time.process_time()
        model = (
            train_challenger(run, champion, dataset, since, epochs, ratio, rate)
            if name == "refresh"
            else fit_model(config, dataset, run)
        )
        figures[f"{name} CPU-s"] = time.process_time() - start
        figures[name] = evaluate_on_test(model, dataset).metrics["ndcg@10"]
        figures[f"{name} epochs"] = run.read_json("training")["epoch"] + 1
    return figures


def evaluate_on_test(model, dataset) -> Ranking:
    batches = make_ranking_batches(dataset, "test", 200)
    return evaluate_scorer(lambda batch: score_batch(model, batch), dataset, batches, (10,))


def main(folder: Path, words: list[str]) -> None:
    """Prints the table."""
    frame = pd.DataFrame([compare_refresh(folder, seed, words) for seed in SEEDS]).set_index("seed")
    frame.loc["mean"] = frame.mean()
    frame["fraction of NDCG@10"] = frame["refresh"] / frame["full"]
    frame["fraction of CPU time"] = frame["refresh CPU-s"] / frame["full CPU-s"]
    print(frame.round(4).to_string())  # noqa: T201 - the answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
