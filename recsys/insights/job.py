"""`recsys segment`: find segments, judge them by later purchases, describe them, keep their numbers."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.config import ConfigError
from recsys.insights import page, plot
from recsys.insights.judging import Judged, Windows, beside_rfm, judge
from recsys.insights.keeping import earlier, numbered, remember
from recsys.insights.ledger import Ledger, Standing, days_of, open_ledger
from recsys.insights.naming import names
from recsys.insights.segments import LARGEST, by_centres, cluster
from recsys.insights.views import data_of, looks, moments
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
    standing, features, scale = look(ledger.end)
    found = cluster(features, scale, judged.figures.k, seed)
    size = len(found.centres)
    about = page.profiles(ledger, standing, found.labels, size, min_segment)
    folder = Path(out)
    before = earlier(folder)
    users = [ledger.users[one] for one in standing.customers]
    kept = before.matched(by, space, found, users) if before else {}
    own = partial(names, standing.rfm(), found.labels, ledger.has_money, [profile.favourite for profile in about])
    called = numbered(kept, np.argsort([-profile.spend for profile in about]), own)
    then = by_centres(judged.clustering, found.centres, np.inf)
    at_cut = np.array([then[label] for label in judged.clustering.labels])
    folder.mkdir(parents=True, exist_ok=True)
    table = _table(ledger, standing, found.labels, called).merge(
        _at_cut(ledger, judged, at_cut, called), on="user", how="left"
    )
    with atomic(folder / "segments.parquet") as path:
        table.to_parquet(path, index=False)
    remember(folder, by, space, called, found.centres)
    lines = page.lines(ledger, called, about, judged.means(at_cut, size), min_segment, said)
    write_text(folder / "segments.md", "\n".join(lines) + "\n")
    money = "spend" if ledger.has_money else "purchases"
    plot.draw(folder / "segments.png", features, found, called, about, min_segment, money)
    return [*lines, f"written: {folder}/segments.parquet, segments.md, segments.png"]


def _table(ledger: Ledger, standing: Standing, labels: np.ndarray, called: Called) -> pd.DataFrame:
    """A row a customer: how they stand at the end of the log, and their segment."""
    return pd.DataFrame(
        {
            "user": [ledger.users[one] for one in standing.customers],
            "segment": [called[label][0] for label in labels],
            "name": [called[label][1] for label in labels],
            "days_since": standing.today - standing.last,
            "orders": standing.orders,
            "spend": standing.spend,
        }
    )


def _at_cut(ledger: Ledger, judged: Judged, labels: np.ndarray, called: Called) -> pd.DataFrame:
    """The segment that each customer was in before the purchases that judge; those who came later have none."""
    return pd.DataFrame(
        {
            "user": [ledger.users[one] for one in judged.view.standing.customers],
            "segment_at_cut": pd.array([called[label][0] for label in labels], dtype="Int64"),
            "name_at_cut": [called[label][1] for label in labels],
        }
    )
