"""`recsys refresh`: from a champion and a longer log to a challenger, judged on the newest events."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recsys.apps.lifecycle.gate import Limits, judged
from recsys.apps.lifecycle.grow_model import grow
from recsys.apps.lifecycle.rank_files import ranked
from recsys.apps.lifecycle.registry import CHALLENGER, CHAMPION, Registry, trained_until
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import ConfigError, DataError
from recsys.evaluation.compare import rank_part
from recsys.evaluation.tables import ranking_to_json
from recsys.export.export import export
from recsys.models.base import Model
from recsys.run import Run
from recsys.serving.recommender import Recommender
from recsys.training.fit import fit_model

KEPT = 3
"""the exit status where the champion stays"""
RATES = ("lr", "table_lr")
"""learning rates among the settings of optimizers"""
log = logging.getLogger(__name__)


def refresh(
    registry: str,
    path: str | None,
    changes: dict[str, Any],
    split: dict[str, Any],
    epochs: int,
    ratio: float,
    rate: float,
    check_users: int | None,
    limits: dict[str, Any],
    promote: bool,
) -> Iterator[str]:
    """Make a challenger, judge it and, if it holds and `promote`, let it serve; settings as in configs/refresh.yaml.

    Ends with status 3 where the champion stays. Raises ConfigError and DataError.
    """
    bounds, shelf, started = Limits(**limits), Registry(registry), time.process_time()
    with shelf.locked() as work:
        champion, before = shelf.champion(), str(shelf.named(CHAMPION))
        config = refreshed(champion, path, changes, split)
        dataset = load_dataset(config)
        since = _since(champion, dataset)
        run = Run.create(work / "run", config)
        challenge(run, champion, dataset, since, epochs, ratio, rate)
        spent = time.process_time() - started
        about = {"how": "refresh", "from": before, "trained_until": trained_until(dataset)}
        settings = {"since": since, "epochs": epochs, "ratio": ratio, "rate": rate, "cpu_s": round(spent, 1)}
        parity = _written(run, champion)
        if parity is not None:
            yield f"FAIL parity: {parity}"
            _stays(before)
        window = [ranked(each.folder / "model.onnx", dataset, check_users) for each in (champion, run)]
        lines = judged(window[0], window[1], dataset, bounds)
        run.write_json("refresh", about | settings | {"gate": [vars(line) for line in lines]})
        name = shelf.add(run, dataset, about, work)
        shelf.link(CHALLENGER, name)
        yield from map(str, lines)
        if not promote or not all(line.holds for line in lines):
            yield f"challenger: {shelf.folder / name}, {spent:.0f} CPU-seconds to learn"
            _stays(before)
        shelf.switch(name, "refresh")
        yield f"champion: {name}, before {before}, {spent:.0f} CPU-seconds to learn"


def refreshed(champion: Run, path: str | None, changes: dict[str, Any], split: dict[str, Any]) -> DictConfig:
    """The champion's configuration on the newer log and with its numbers; ConfigError if it has no path to change, or
    is stale.
    """
    champion.refuse_stale()
    own = champion.config
    new: dict[str, Any] = {"split": split, "data": {"vocabulary": str(champion.folder / "vocabulary")}}
    if path is not None:
        if "path" not in own.data.source:
            raise ConfigError(f"path={path}: the champion's data come from no file; use +changes.data.source.KEY=VALUE")
        new["data"]["source"] = {"path": path}
    own.split = {}
    merged = OmegaConf.merge(own, new, changes)
    assert isinstance(merged, DictConfig)
    return merged


def challenge(run: Run, champion: Run, dataset: Dataset, since: int, epochs: int, ratio: float, rate: float) -> Model:
    """A model that goes on from the champion's weights, or a closed form fitted anew; leaves weights and metrics in the
    run.
    """
    config = run.config
    lesson = {
        "_target_": "recsys.apps.lifecycle.replay.Replay",
        "batches": {**config.batches, "_partial_": True},
        "max_history": config.batches.max_history,
        "since": since,
        "ratio": ratio,
    }
    slower = {name: float(config.optimizer[name]) * rate for name in RATES if name in config.optimizer}
    tuned = OmegaConf.merge(config, {"trainer": {"max_epochs": epochs}, "optimizer": slower, "patience": epochs})
    tuned.batches, tuned.logger = lesson, {}
    assert isinstance(tuned, DictConfig)
    model = fit_model(tuned, dataset, run, partial(grow, champion.load_weights()))
    found = rank_part(model, dataset, config, "test")
    if not run.has_weights():  # a closed form, now fitted to all events before the test
        run.save_weights(model.state_dict())
    counts = {"n_users": dataset.n_users, "n_items": dataset.n_items}
    run.write_json("metrics", {"test": ranking_to_json(found), "split_hash": dataset.split_hash, **counts})
    return model


def _since(champion: Run, dataset: Dataset) -> int:
    """The first second that is new to the champion; DataError where the window to judge on is not."""
    about = json.loads((champion.folder / "version.json").read_text())
    since, cuts = about["trained_until"], dataset.metadata["cuts"]
    if since is None or cuts is None:
        raise DataError("a refresh needs times and split=global_time; name the times under data.columns.timestamp")
    if cuts[1] < since:
        raise DataError(
            f"the newest window begins at {cuts[1]} s, but the champion has learned until {since} s: it would be asked "
            "what it was told; gather more events or raise split.quantile"
        )
    return int(since)


def _written(run: Run, champion: Run) -> str | None:
    """Write the run's file as the champion's was; says why where it does not hold the check."""
    manifest = Recommender(champion.folder / "model.onnx").describe()
    settings = {"precision": manifest["precision"]["asked"], "users": manifest["users"], "licence": manifest["licence"]}
    try:
        export(run, OmegaConf.create({**settings, "check_users": 2000}))
    except ConfigError as error:
        return str(error)
    return None


def _stays(champion: str) -> None:
    log.info("champion: %s stays", champion)
    sys.exit(KEPT)
