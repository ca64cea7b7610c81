"""`recsys audit`: whom a run serves worse, what it pushes, and whom it betrays."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.apps.privacy.membership import Attack, Witness, attack
from recsys.config.build import build
from recsys.data.dataset import Dataset
from recsys.data.features import Features
from recsys.data.load import load_dataset
from recsys.data.preparation.consent import Privacy
from recsys.data.preparation.prepare import prepare
from recsys.data.preparation.segments import encode_segments
from recsys.data.preparation.splits import LeaveOneOut
from recsys.data.sources.files import FileSource
from recsys.errors import ConfigError
from recsys.evaluation.evaluate import Ranking, evaluate_scorer
from recsys.evaluation.metrics.stats import independent_difference
from recsys.evaluation.scoring import make_ranking_batches, make_scorer
from recsys.models.base import Model
from recsys.models.build import restore
from recsys.run import Run
from recsys.serving.recommender import Recommender
from recsys.training.refit import dataset_learned_from

FEWEST = 30
"""users that a group needs for a figure of its own"""
LISTS = ("coverage", "gini", "popularity_lift")
Rows = list[dict[str, Any]]


def audit(run: str, members: str | None, others: str | None, n_users: int, n_events: int, seed: int) -> Iterator[str]:
    """What was found, line by line, and audit.json in the run; settings as in configs/audit.yaml."""
    folder = Run.open(run)
    dataset = load_dataset(folder.config)
    model = restore(folder.config, dataset, folder)
    users, ranking = _ranked(model, dataset, folder)
    gaps = _gaps(users, ranking, dataset)
    lists = {f"{name}@{ranking.k}": ranking.metrics[f"{name}@{ranking.k}"] for name in LISTS}
    table = pd.DataFrame(gaps).to_string(index=False, float_format="{:.4f}".format)
    yield f"{ranking.n_users:,} test users; ndcg@{ranking.k} of groups of at least {FEWEST}, beside everybody else's:"
    yield table if gaps else "there are none"
    yield ", ".join(f"{name} {value:.4f}" for name, value in lists.items())
    found = _membership(folder, dataset, (members, others), n_users, n_events, seed)
    yield f"membership attack: {found}"
    attacked: dict[str, Any] = {"reason": found} if isinstance(found, str) else found._asdict()
    folder.write_json("audit", {"k": ranking.k, "gaps": gaps, "lists": lists, "membership": attacked})


def _ranked(model: Model, dataset: Dataset, run: Run) -> tuple[np.ndarray, Ranking]:
    """The test users in the order of the figures, and the figures."""
    batches = make_ranking_batches(dataset, "test", model.max_history)
    found = evaluate_scorer(make_scorer(model), dataset, batches, tuple(run.config.ks))
    return found.users, found


def _gaps(users: np.ndarray, ranking: Ranking, dataset: Dataset) -> Rows:
    """A row for each group that is large enough, and has others beside it: NDCG, and what it is above the others'."""
    values, rows = ranking.per_user[f"ndcg@{ranking.k}"], []
    for column, (names, codes) in _groups(dataset).items():
        for code, name in enumerate(names):
            own = codes[users + 1]
            inside = (own == code).any(axis=1) if code else (own == 0).all(axis=1)
            if min(inside.sum(), (~inside).sum()) >= FEWEST:
                gap, low, high = independent_difference(values[inside], values[~inside])
                figures = {"ndcg": float(values[inside].mean()), "gap": gap, "low": low, "high": high}
                rows.append({"group": column, "value": name, "users": int(inside.sum()), **figures})
    return rows


def _groups(dataset: Dataset) -> dict[str, tuple[list[str], np.ndarray]]:
    """What users are told apart by: how much and how long they are known, and the segments of the data. Values in code
    order and codes, row 0 nobody's.
    """
    first, end = dataset.offsets[:-1], dataset.bounds[:, 0]
    numbers = {"training events": (end - first).astype(float)}
    if dataset.timestamps is not None:
        numbers["days known"] = np.floor((dataset.timestamps.max() - dataset.timestamps[first]) / 86_400)
    found = {}
    for name, column in numbers.items():
        values, codes = encode_segments(pd.Series(column), "|")
        found[name] = list(values), np.concatenate([np.zeros_like(codes[:1]), codes])
    return found | {name: of for name, of in dataset.segments().items() if name.startswith("user.")}


def _membership(
    run: Run, dataset: Dataset, logs: tuple[str | None, str | None], n_users: int, n_events: int, seed: int
) -> Attack | str:
    """The attack on the run's file, or why there is none."""
    if not (run.folder / "model.onnx").exists():
        return f"not measured, for '{run.folder}' has no model.onnx; write it with recsys export run={run.folder}"
    recommender = Recommender(run.folder / "model.onnx")
    until = dataset_learned_from(run.config, dataset).bounds[:, 0]
    trained = until > dataset.offsets[:-1]
    known = np.where(trained, until, dataset.offsets[1:])
    found = []
    for path, inside in zip(logs, (trained, ~trained), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            data = dataset if path is None else _events(path, run, folder)
            users = np.flatnonzero(inside) if path is None else np.arange(data.n_users)
            if len(users) < FEWEST:
                return f"not measured, for {len(users)} users are too few; give logs with members=FILE and others=FILE"
            users = np.sort(np.random.default_rng(seed).permutation(users)[:n_users])
            end = known if path is None else np.asarray(data.offsets[1:])
            found.append(Witness(recommender, data, end, n_events).familiarity(users))
    return attack(found[0], found[1], seed)


def _events(path: str, run: Run, folder: str) -> Dataset:
    """The events of a file, with the columns of the run's own data."""
    if not Path(path).exists():
        raise ConfigError(f"there is no file '{path}'; members and others are logs like the run's own")
    node = run.config.data
    features = Features(context=list(node.features.context), separator=node.features.separator)
    new = {"source": FileSource(path), "features": features, "privacy": Privacy()}
    return prepare(build(node, folder=folder, **new), LeaveOneOut())
