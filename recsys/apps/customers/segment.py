"""`recsys segment`: find segments, judge them by later purchases, describe them, keep their numbers."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.apps.customers import segment_chart, segment_report
from recsys.apps.customers.clustering import LARGEST, Clustering, by_centres, cluster
from recsys.apps.customers.customer_features import View, data_of, looks, moments
from recsys.apps.customers.holdout import Judged, Windows, beside_rfm, judge
from recsys.apps.customers.numbering import earlier, numbered, remember
from recsys.apps.customers.purchases import Ledger, Standing, days_of, open_ledger
from recsys.apps.customers.segment_names import names
from recsys.errors import ConfigError
from recsys.run import atomic, write_text

Called = list[tuple[int, str]]


def segment(
    run: str | None,
    data: dict[str, Any],
    by: str,
    k: int | str,
    holdout: str,
    min_ari: float,
    min_segment: int,
    seed: int,
    out: str,
) -> list[str]:
    """Write segments.parquet, .md, .png and .json into `out`, settings as in configs/segment.yaml; segments keep the
    numbers and names of those that lie there. Returns the page. Raises ConfigError, DataError.
    """
    if k != "auto" and k not in range(2, LARGEST + 1):
        raise ConfigError(f"k={k} is no number of segments; use auto, or 2 to {LARGEST}")
    trained, settings = data_of(run, data)
    ledger = open_ledger(settings)
    look, space = looks(ledger, trained, by)
    asked = None if k == "auto" else int(k)
    windows = Windows(*moments(ledger, trained, days_of(holdout, "holdout"), asked is None), min_ari, seed)
    judged = judge(ledger, look, asked, windows)
    said = [str(judged)] if by == "rfm" else [f"{judged}.", beside_rfm(ledger, judged, asked, windows)]
    view = look(ledger.end)
    found = cluster(view.features, view.scale, judged.figures.k, seed)
    about = segment_report.profiles(ledger, view.standing, found.labels, judged.figures.k, min_segment)
    folder = Path(out)
    called = _called(folder, by, space, ledger, view, found, about)
    folder.mkdir(parents=True, exist_ok=True)
    at_cut = _labels_at_cut(judged, found)
    lines = segment_report.lines(ledger, called, about, judged.means(at_cut, len(called)), min_segment, said)
    with atomic(folder / "segments.parquet") as path:
        _table(ledger, view.standing, found.labels, called, judged, at_cut).to_parquet(path, index=False)
    remember(folder, by, space, called, found.centres)
    write_text(folder / "segments.md", "\n".join(lines) + "\n")
    segment_chart.draw(folder / "segments.png", view.features, found, called, about, min_segment, ledger.unit)
    return [*lines, f"written: {folder}/segments.parquet, segments.md, segments.png"]


def _called(
    folder: Path,
    by: str,
    space: str,
    ledger: Ledger,
    view: View,
    found: Clustering,
    about: list[segment_report.Profile],
) -> Called:
    """The number and the name of each segment, those of the folder where they go on."""
    before = earlier(folder)
    users = [ledger.users[one] for one in view.standing.customers]
    kept = before.matched(by, space, found, users) if before else {}
    favourites = [profile.favourite for profile in about]
    own = partial(names, view.standing.rfm(), found.labels, ledger.has_money, favourites)
    return numbered(kept, np.argsort([-profile.spend for profile in about]), own)


def _labels_at_cut(judged: Judged, found: Clustering) -> np.ndarray:
    """(C,) the segments before the purchases that judge, as those of today number them."""
    now = by_centres(judged.clustering, found.centres, np.inf)
    return np.array([now[label] for label in judged.clustering.labels])


def _table(
    ledger: Ledger, standing: Standing, labels: np.ndarray, called: Called, judged: Judged, at_cut: np.ndarray
) -> pd.DataFrame:
    """A row a customer: how they stand at the end of the log, their segment, and the one that they were in at the cut;
    those who came later were in none.
    """
    now = pd.DataFrame(
        {
            "user": [ledger.users[one] for one in standing.customers],
            "segment": [called[label][0] for label in labels],
            "name": [called[label][1] for label in labels],
            "days_since": standing.today - standing.last,
            "orders": standing.orders,
            "spend": standing.spend,
        }
    )
    then = pd.DataFrame(
        {
            "user": [ledger.users[one] for one in judged.view.standing.customers],
            "segment_at_cut": pd.array([called[label][0] for label in at_cut], dtype="Int64"),
            "name_at_cut": [called[label][1] for label in at_cut],
        }
    )
    return now.merge(then, on="user", how="left")
