"""`recsys audit`: which groups a run serves worse, how popular its items are, and whether it reveals training users."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.apps.privacy.membership import AttackResult, MembershipAttack, evaluate_attack
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
from recsys.training.refit import select_learned_dataset

MIN_USERS = 30
"""users that a group must have to be reported"""
LIST_METRICS = ("coverage", "gini", "popularity_lift")
Groups = dict[str, tuple[list[str], np.ndarray]]
Rows = list[dict[str, Any]]


def audit(run: str, members: str | None, others: str | None, n_users: int, n_events: int, seed: int) -> Iterator[str]:
    """Yields the findings line by line and writes audit.json to the run; the settings are those of configs/audit.yaml.

    Raises ConfigError.
    """
    trained_run = Run.open(run)
    dataset = load_dataset(trained_run.config)
    model = restore(trained_run.config, dataset, trained_run)
    users, ranking = _rank_test_users(model, dataset, trained_run)
    gaps = _measure_gaps(users, ranking, dataset)
    lists = {f"{name}@{ranking.k}": ranking.metrics[f"{name}@{ranking.k}"] for name in LIST_METRICS}
    table = pd.DataFrame(gaps).to_string(index=False, float_format="{:.4f}".format)
    groups = f"groups of at least {MIN_USERS} and their gaps to all other users"
    yield f"{ranking.n_users:,} test users; NDCG@{ranking.k} of {groups}:"
    yield table if gaps else "there are none"
    yield ", ".join(f"{name} {value:.4f}" for name, value in lists.items())
    result = _attack_file(trained_run, dataset, (members, others), n_users, n_events, seed)
    yield f"membership attack: {result}"
    membership: dict[str, Any] = {"reason": result} if isinstance(result, str) else result._asdict()
    trained_run.write_json("audit", {"k": ranking.k, "gaps": gaps, "lists": lists, "membership": membership})


def _rank_test_users(model: Model, dataset: Dataset, run: Run) -> tuple[np.ndarray, Ranking]:
    """Returns the test users in the order of the ranking's values, and the ranking."""
    batches = make_ranking_batches(dataset, "test", model.max_history)
    ranking = evaluate_scorer(make_scorer(model), dataset, batches, tuple(run.config.ks))
    return ranking.users, ranking


def _measure_gaps(users: np.ndarray, ranking: Ranking, dataset: Dataset) -> Rows:
    """Returns a row for each group that, like the rest of the users, is large enough: its NDCG and the difference from
    the others' with an interval.
    """
    values, rows = ranking.per_user[f"ndcg@{ranking.k}"], []
    for column, (names, codes) in _find_groups(dataset).items():
        for code, name in enumerate(names):
            user_codes = codes[users + 1]
            inside = (user_codes == code).any(axis=1) if code else (user_codes == 0).all(axis=1)
            if min(inside.sum(), (~inside).sum()) >= MIN_USERS:
                gap, low, high = independent_difference(values[inside], values[~inside])
                figures = {"ndcg": float(values[inside].mean()), "gap": gap, "low": low, "high": high}
                rows.append({"group": column, "value": name, "users": int(inside.sum()), **figures})
    return rows


def _find_groups(dataset: Dataset) -> Groups:
    """Returns groups by number of training events, by days since the first event, and by the segments of the data.

    Each has its values in code order and the users' codes, whose row 0 belongs to no user.
    """
    first, end = dataset.offsets[:-1], dataset.bounds[:, 0]
    columns = {"training events": (end - first).astype(float)}
    if dataset.timestamps is not None:
        columns["days known"] = np.floor((dataset.timestamps.max() - dataset.timestamps[first]) / 86_400)
    groups = {}
    for name, column in columns.items():
        values, codes = encode_segments(pd.Series(column), "|")
        groups[name] = list(values), np.concatenate([np.zeros_like(codes[:1]), codes])
    return groups | {name: segment for name, segment in dataset.segments().items() if name.startswith("user.")}


def _attack_file(
    run: Run, dataset: Dataset, logs: tuple[str | None, str | None], n_users: int, n_events: int, seed: int
) -> AttackResult | str:
    """Returns the result of the attack on the run's file, or why there is none."""
    if not (run.folder / "model.onnx").exists():
        return f"not measured: '{run.folder}' has no model.onnx; write it with recsys export run={run.folder}"
    recommender = Recommender(run.folder / "model.onnx")
    training_end = select_learned_dataset(run.config, dataset).bounds[:, 0]
    trained = training_end > dataset.offsets[:-1]
    last_position = np.where(trained, training_end, dataset.offsets[1:])
    familiarity = []
    for path, inside in zip(logs, (trained, ~trained), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            data = dataset if path is None else _load_log(path, run, folder)
            users = np.flatnonzero(inside) if path is None else np.arange(data.n_users)
            if len(users) < MIN_USERS:
                return f"not measured: {len(users)} users are too few; name logs with members=FILE and others=FILE"
            users = np.sort(np.random.default_rng(seed).permutation(users)[:n_users])
            end = last_position if path is None else np.asarray(data.offsets[1:])
            familiarity.append(MembershipAttack(recommender, data, end, n_events).measure_familiarity(users))
    return evaluate_attack(familiarity[0], familiarity[1], seed)


def _load_log(path: str, run: Run, folder: str) -> Dataset:
    """Returns the events of a file as a dataset, read with the columns of the run's own data."""
    if not Path(path).exists():
        raise ConfigError(f"there is no file '{path}'; members and others are logs like the run's own")
    node = run.config.data
    features = Features(context=list(node.features.context), separator=node.features.separator)
    replaced = {"source": FileSource(path), "features": features, "privacy": Privacy()}
    return prepare(build(node, folder=folder, **replaced), LeaveOneOut())
