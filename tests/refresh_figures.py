"""What a refresh costs and is worth beside a full training: `python -m tests.refresh_figures FOLDER [WORD …]`.

MovieLens 100K: a champion learns from the first 90 % of the events; then the rest comes in, and it is refreshed, or
trained anew, on all but the newest 10 %, on which both are ranked. Needs RECSYS_DATA.
"""

import sys
import time
from pathlib import Path

import pandas as pd

from recsys.apps.lifecycle.commands import register
from recsys.apps.lifecycle.rank_files import ranked
from recsys.apps.lifecycle.refresh import challenge, refreshed
from recsys.apps.lifecycle.registry import Registry, trained_until
from recsys.data.load import load_dataset
from recsys.evaluation.evaluate import Ranking, evaluate_scorer
from recsys.evaluation.scoring import make_ranking_batches, score_batch
from recsys.export.export import export
from recsys.run import Run
from recsys.training.fit import fit_model
from recsys.training.train import train_run
from tests.composed import composed

THEN = "1998-03-31T22:11:12Z"
"""when the first 90 % of the events had happened"""
SEEDS = (1, 2, 3)


def champion_of(folder: Path, seed: int, words: list[str]) -> Registry:
    """A registry whose champion knows the events until then."""
    shelf = Registry(folder / f"registry-{seed}")
    if shelf.named("champion") is None:
        config = composed(
            "model=sasrec", "data=movielens_100k", "split=global_time", f"data.filters.end={THEN}", "threads=1",
            f"data.folder={folder}/data", "baselines=none", "logger=none", "trainer.enable_progress_bar=false",
            f"seed={seed}", *words,
        )  # fmt: skip
        run = Run.create(folder / f"champion-{seed}", config)
        train_run(run)
        export(run, composed(f"run={run.folder}", name="export"))
        list(register(str(run.folder), str(shelf.folder), promote=True))
    return shelf


def compared(
    folder: Path, seed: int, words: list[str], epochs: int = 8, ratio: float = 1.0, rate: float = 0.5
) -> dict[str, float]:
    """N@10 of the champion, refreshed and trained anew, and the CPU-seconds of the latter two."""
    shelf = champion_of(folder, seed, words)
    champion, split = shelf.champion(), composed("split=global_time").split
    config = refreshed(champion, None, {"data": {"filters": {"end": None}}}, split)
    dataset = load_dataset(config)
    since = trained_until(load_dataset(champion.config))
    found = {"seed": seed, "champion": ranked(champion.folder / "model.onnx", dataset, None).ranking.metrics["ndcg@10"]}
    model = None
    for name in ("refresh", "full"):
        run = Run.create(folder / f"{name}-{seed}-{time.time_ns()}", config)
        start = time.process_time()
        model = (
            challenge(run, champion, dataset, since, epochs, ratio, rate)
            if name == "refresh"
            else fit_model(config, dataset, run)
        )
        found[f"{name} CPU-s"] = time.process_time() - start
        found[name] = on_test(model, dataset).metrics["ndcg@10"]
        found[f"{name} epochs"] = run.read_json("training")["epoch"] + 1
    return found


def on_test(model, dataset) -> Ranking:
    batches = make_ranking_batches(dataset, "test", 200)
    return evaluate_scorer(lambda batch: score_batch(model, batch), dataset, batches, (10,))


def main(folder: Path, words: list[str]) -> None:
    """Print the table."""
    frame = pd.DataFrame([compared(folder, seed, words) for seed in SEEDS]).set_index("seed")
    frame.loc["mean"] = frame.mean()
    frame["of its N@10"] = frame["refresh"] / frame["full"]
    frame["of its time"] = frame["refresh CPU-s"] / frame["full CPU-s"]
    print(frame.round(4).to_string())  # noqa: T201 - the answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
