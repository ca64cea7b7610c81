"""`recsys segment`: find segments, evaluate them by later purchases, describe them, and keep their numbers."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys.apps.customers.clustering import MAX_SEGMENTS, Clustering, cluster_customers, match_by_centres
from recsys.apps.customers.customer_features import (
    CustomerFeatures,
    choose_cut_offs,
    choose_feature_builder,
    resolve_data_settings,
)
from recsys.apps.customers.holdout import HoldoutResult, HoldoutWindows, compare_with_rfm, evaluate_segments
from recsys.apps.customers.numbering import NumberedNames, load_earlier_segments, number_segments, save_segments
from recsys.apps.customers.purchases import OrderSummary, Purchases, load_purchases, parse_days
from recsys.apps.customers.segment_chart import draw_segment_chart
from recsys.apps.customers.segment_names import name_segments
from recsys.apps.customers.segment_report import SegmentProfile, profile_segments, render_segment_page
from recsys.errors import ConfigError
from recsys.run import atomic, write_text


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
    """Write segments.parquet, .md, .png and .json into `out`; the settings are those of configs/segment.yaml. Segments
    keep the numbers and names of those that are already in `out`. Returns the page as lines. Raises ConfigError,
    DataError.
    """
    if k != "auto" and k not in range(2, MAX_SEGMENTS + 1):
        raise ConfigError(f"k={k} is invalid: expected auto, or a whole number from 2 to {MAX_SEGMENTS}")
    source, settings = resolve_data_settings(run, data)
    purchases = load_purchases(settings)
    build_features, space = choose_feature_builder(purchases, source, by)
    fixed_k = None if k == "auto" else int(k)
    cut_offs = choose_cut_offs(purchases, source, parse_days(holdout, "holdout"), fixed_k is None)
    windows = HoldoutWindows(*cut_offs, min_ari, seed)
    result = evaluate_segments(purchases, build_features, fixed_k, windows)
    conclusions = [f"{result}."]
    if by != "rfm":
        conclusions.append(compare_with_rfm(purchases, result, fixed_k, windows))
    features = build_features(purchases.end)
    clustering = cluster_customers(features.values, features.scale, result.score.k, seed)
    profiles = profile_segments(purchases, features.customers, clustering.labels, result.score.k, min_segment)
    folder = Path(out)
    numbered = _number_and_name(folder, by, space, purchases, features, clustering, profiles)
    labels_at_cut = _relabel_at_cut(result, clustering)
    later_spend = result.mean_later_spend(labels_at_cut, len(numbered))
    page = render_segment_page(purchases, numbered, profiles, later_spend, min_segment, conclusions)
    current = _list_current(purchases, features.customers, clustering.labels, numbered)
    _write_files(folder, page, current.merge(_list_at_cut(purchases, result, labels_at_cut, numbered), "left", "user"))
    save_segments(folder, by, space, numbered, clustering.centres)
    draw_segment_chart(folder, features.values, clustering, numbered, profiles, min_segment, purchases.money_label)
    return [*page, f"written: {folder}/segments.parquet, segments.md, segments.png"]


def _write_files(folder: Path, page: list[str], table: pd.DataFrame) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / "segments.parquet") as path:
        table.to_parquet(path, index=False)
    write_text(folder / "segments.md", "\n".join(page) + "\n")


def _number_and_name(
    folder: Path,
    by: str,
    space: str,
    purchases: Purchases,
    features: CustomerFeatures,
    clustering: Clustering,
    profiles: list[SegmentProfile],
) -> NumberedNames:
    """The number and the name of each segment, taken from the segments in the folder where they continue."""
    earlier = load_earlier_segments(folder)
    users = [purchases.users[number] for number in features.customers.numbers]
    continued = earlier.match(by, space, clustering, users) if earlier else {}
    favourites = [profile.favourite_item_value for profile in profiles]
    rfm = features.customers.compute_rfm()
    name = partial(name_segments, rfm, clustering.labels, purchases.has_money, favourites)
    return number_segments(continued, np.argsort([-profile.spend for profile in profiles]), name)


def _relabel_at_cut(result: HoldoutResult, clustering: Clustering) -> np.ndarray:
    """(C,) the segments at the cut, by the labels of today's segment with the nearest centre."""
    matches = match_by_centres(result.clustering, clustering.centres, np.inf)
    return np.array([matches[label] for label in result.clustering.labels])


def _list_current(
    purchases: Purchases, customers: OrderSummary, labels: np.ndarray, numbered: NumberedNames
) -> pd.DataFrame:
    """A row for each customer at the end of the log, with their segment."""
    return pd.DataFrame(
        {
            "user": [purchases.users[number] for number in customers.numbers],
            "segment": [numbered[label][0] for label in labels],
            "name": [numbered[label][1] for label in labels],
            "days_since": customers.today - customers.last,
            "orders": customers.orders,
            "spend": customers.spend,
        }
    )


def _list_at_cut(
    purchases: Purchases, result: HoldoutResult, labels: np.ndarray, numbered: NumberedNames
) -> pd.DataFrame:
    """A row for each customer at the cut, with the segment of that day."""
    return pd.DataFrame(
        {
            "user": [purchases.users[number] for number in result.features.customers.numbers],
            "segment_at_cut": pd.array([numbered[label][0] for label in labels], dtype="Int64"),
            "name_at_cut": [numbered[label][1] for label in labels],
        }
    )
