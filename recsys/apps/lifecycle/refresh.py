"""`recsys refresh`: from a champion and a longer log to a challenger, which is compared on the newest events."""

import json
import logging
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from recsys.apps.lifecycle.gate import GateCheck, PromotionLimits, check_challenger
from recsys.apps.lifecycle.grow_model import grow_weights
from recsys.apps.lifecycle.rank_files import rank_file
from recsys.apps.lifecycle.registry import CHALLENGER, CHAMPION, Registry, find_training_end
from recsys.data.dataset import Dataset
from recsys.data.load import load_dataset
from recsys.errors import ConfigError, DataError
from recsys.evaluation.compare import rank_part
from recsys.evaluation.tables import ranking_to_json
from recsys.export.export import export_run
from recsys.models.base import Model
from recsys.run import Run
from recsys.serving.recommender import Recommender
from recsys.training.fit import fit_model

CHAMPION_STAYS = 3
"""the exit status if the champion stays"""
RATES = ("lr", "table_lr")
"""settings of optimizers that are learning rates"""
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
    """Yields one line per check: trains a challenger, checks it and makes it the champion if it passes and `promote`.
    The settings are those of configs/refresh.yaml.

    Exits with status 3 if the champion stays. Raises ConfigError and DataError.
    """
    promotion_limits, versions, start = PromotionLimits(**limits), Registry(registry), time.process_time()
    with versions.lock() as work:
        champion, before = versions.open_champion(), str(versions.read_link(CHAMPION))
        config = compose_refresh_config(champion, path, changes, split)
        dataset = load_dataset(config)
        since = _find_first_new_second(champion, dataset)
        run = Run.create(work / "run", config)
        train_challenger(run, champion, dataset, since, epochs, ratio, rate)
        spent = time.process_time() - start
        parity_failure = _export_challenger(run, champion)
        if parity_failure is not None:
            yield f"FAIL parity: {parity_failure}"
            _keep_champion(before)
        checks = _check_files(champion, run, dataset, check_users, promotion_limits)
        about = {"how": "refresh", "from": before, "trained_until": find_training_end(dataset)}
        settings = {"since": since, "epochs": epochs, "ratio": ratio, "rate": rate, "cpu_s": round(spent, 1)}
        run.write_json("refresh", about | settings | {"gate": [check.as_json() for check in checks]})
        version = versions.add(run, dataset, about, work)
        versions.link(CHALLENGER, version)
        effort = f"trained in {spent:.0f} CPU-seconds"
        yield from _decide(versions, version, before, checks, promote, effort)


def _decide(
    versions: Registry, version: str, champion: str, checks: list[GateCheck], promote: bool, effort: str
) -> Iterator[str]:
    """Yields the checks and the decision; the version becomes the champion, or the champion stays."""
    yield from map(str, checks)
    if not promote or not all(check.passed for check in checks):
        yield f"challenger: {versions.folder / version}, {effort}"
        _keep_champion(champion)
    versions.switch_champion(version, "refresh")
    yield f"champion: {version}, before {champion}, {effort}"


def _check_files(
    champion: Run, challenger: Run, dataset: Dataset, n_users: int | None, limits: PromotionLimits
) -> list[GateCheck]:
    rankings = [rank_file(run.folder / "model.onnx", dataset, n_users) for run in (champion, challenger)]
    return check_challenger(rankings[0], rankings[1], dataset, limits)


def compose_refresh_config(
    champion: Run, path: str | None, changes: dict[str, Any], split: dict[str, Any]
) -> DictConfig:
    """Returns the champion's configuration with the newer log, `changes`, the `split` and the champion's vocabulary.

    Raises ConfigError if the champion is stale, or if its data have no path to change.
    """
    champion.refuse_stale()
    config = champion.config
    updates: dict[str, Any] = {"split": split, "data": {"vocabulary": str(champion.folder / "vocabulary")}}
    if path is not None:
        if "path" not in config.data.source:
            raise ConfigError(
                f"path={path}: the champion's data do not come from a file; use +changes.data.source.KEY=VALUE"
            )
        updates["data"]["source"] = {"path": path}
    config.split = {}
    merged = OmegaConf.merge(config, updates, changes)
    assert isinstance(merged, DictConfig)
    return merged


def train_challenger(
    run: Run, champion: Run, dataset: Dataset, since: int, epochs: int, ratio: float, rate: float
) -> Model:
    """Returns a model trained on from the champion's weights, or a closed form fitted to all data; writes weights and
    metrics to the run.

    New events are those from second `since` on; `ratio` old ones are replayed for each; `rate` scales learning rates.
    """
    config = run.config
    replay = {
        "_target_": "recsys.apps.lifecycle.replay.ReplayBatches",
        "batches": {**config.batches, "_partial_": True},
        "max_history": config.batches.max_history,
        "since": since,
        "ratio": ratio,
    }
    slower = {name: float(config.optimizer[name]) * rate for name in RATES if name in config.optimizer}
    tuned = OmegaConf.merge(config, {"trainer": {"max_epochs": epochs}, "optimizer": slower, "patience": epochs})
    tuned.batches, tuned.logger = replay, {}
    assert isinstance(tuned, DictConfig)
    model = fit_model(tuned, dataset, run, partial(grow_weights, champion.load_weights()))
    ranking = rank_part(model, dataset, config, "test")
    if not run.has_weights():  # a closed form, which is now fitted to all events before the test
        run.save_weights(model.state_dict())
    counts = {"n_users": dataset.n_users, "n_items": dataset.n_items}
    run.write_json("metrics", {"test": ranking_to_json(ranking), "split_hash": dataset.split_hash, **counts})
    return model


def _find_first_new_second(champion: Run, dataset: Dataset) -> int:
    """Returns the first second after the champion's training data; DataError if the test window begins before it."""
    about = json.loads((champion.folder / "version.json").read_text())
    since, cuts = about["trained_until"], dataset.metadata["cuts"]
    if since is None or cuts is None:
        raise DataError("a refresh needs times and split=global_time; name the times under data.columns.timestamp")
    if cuts[1] < since:
        raise DataError(
            f"the newest window begins at {cuts[1]} s, but the champion's training data end at {since} s: it would be "
            "tested on events that it was trained on; gather more events or raise split.quantile"
        )
    return int(since)


def _export_challenger(run: Run, champion: Run) -> str | None:
    """Exports the run with the champion's export settings; returns why the file failed its check, None if it passed."""
    manifest = Recommender(champion.folder / "model.onnx").describe()
    settings = {"precision": manifest["precision"]["asked"], "users": manifest["users"], "licence": manifest["licence"]}
    try:
        export_run(run, OmegaConf.create({**settings, "check_users": 2000}))
    except ConfigError as error:
        return str(error)
    return None


def _keep_champion(champion: str) -> None:
    log.info("champion: %s stays", champion)
    sys.exit(CHAMPION_STAYS)
