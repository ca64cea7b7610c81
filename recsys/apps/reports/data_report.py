"""`recsys report data`: what a log is like, and whether it is enough."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from recsys.apps.reports import data_charts as pictures
from recsys.apps.reports import log_statistics, split_statistics, sufficiency
from recsys.apps.reports.charts import rounded
from recsys.apps.reports.side_tables import missing, side_by_side
from recsys.config.build import build
from recsys.config.settings import check_settings
from recsys.data.dataset import Dataset
from recsys.data.preparation.prepare import prepare
from recsys.data.preparation.splits import Split
from recsys.document import Section, render_page
from recsys.run import write_text

Json = dict[str, Any]


def report_data(data: dict[str, Any], split: dict[str, Any], out: str) -> list[str]:
    """Write the page `out` and the numbers on it beside it as JSON, settings as in configs/report_data.yaml. Returns
    the verdict and where they are. Raises ConfigError, DataError.
    """
    config = OmegaConf.create({"data": data, "split": split})
    check_settings(config)
    split_rule: Split = build(config.split)
    dataset = prepare(build(config.data), split_rule)
    found = facts(dataset, side_by_side(data, dataset))
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_page(sections(found)))
    write_text(path.with_suffix(".json"), json.dumps(found, indent=1) + "\n")
    return [*found["verdict"]["said"], f"written: {path}, {path.with_suffix('.json')}"]


def facts(dataset: Dataset, tables: Mapping[str, pd.DataFrame]) -> Json:
    """Every number of the report, as it stands in the JSON file; null for what needs times that the log lacks."""
    training, testing, ties = (
        split_statistics.training(dataset),
        split_statistics.testing(dataset),
        log_statistics.ties(dataset),
    )
    has_order = dataset.ordered
    rules = sufficiency.rules(training, testing, dataset.exclude_seen, has_order)
    return {
        "name": dataset.metadata["name"],
        "split": {"name": dataset.metadata["split"]["name"], "hash": dataset.split_hash},
        "exclude_seen": dataset.exclude_seen,
        "counts": dataset.metadata["counts"],
        "size": log_statistics.size(dataset),
        "verdict": {
            **sufficiency.verdict(rules),
            "said": sufficiency.said(rules, testing, ties),
            "half_width": sufficiency.half_width(testing["users"]) if testing["users"] else None,
            "rules": sufficiency.as_json(rules),
        },
        "days": log_statistics.per_day(dataset),
        "popularity": log_statistics.popularity(np.bincount(dataset.items)),
        "history": log_statistics.history(np.diff(dataset.offsets)),
        "gaps": log_statistics.gaps(dataset),
        "ties": ties,
        "repeats": split_statistics.repeat_share(dataset),
        "training": training,
        "test": testing,
        "missing": {kind: missing(table) for kind, table in tables.items()},
    }


def sections(found: Json) -> list[Section]:
    """The page of these facts."""
    return [
        Section(f"Data: {found['name']}", _size(found)),
        Section("Enough data?", found["verdict"]["said"], _rules(found["verdict"]["rules"]), wide=True),
        *([_days(found["days"])] if found["days"] else []),
        _tail(found["popularity"]),
        _history(found["history"]),
        *([_gaps(found["gaps"])] if found["gaps"] else []),
        Section("What comes again, and what is new", _shares(found), pictures=[pictures.shares(found)]),
        _test(found["test"]),
        _missing(found["missing"]),
        Section("From rows to events", ROWS, _counts(found["counts"])),
    ]


DRAWN = 10
"""bars of missing metadata; what is missing less stands in a table"""
ROWS = ["Every row that was read is kept or set aside under the name of the rule that it breaks (quarantine.parquet)."]


def _size(found: Json) -> list[str]:
    size, split = found["size"], found["split"]
    span = f" from {size['first_day']} to {size['last_day']}" if "first_day" in size else ", without times"
    kinds = "" if size["targets"] == size["events"] else f", {size['targets']:,} of them to be predicted"
    seen = "items already had are left out of rankings" if found["exclude_seen"] else "repeats are ranked"
    return [
        f"{size['events']:,} events{kinds}, of {size['users']:,} users with {size['items']:,} items{span}; "
        f"{100 * size['density']:,.3g} events for 100 pairs of a user and an item.",
        f"Split {split['name']} {split['hash'][:12]}; {seen}.",
    ]


def _rules(rules: list[Json]) -> list[list[str]]:
    rows = [
        [r["asked"], _figure(r["found"]), f"≥ {_figure(r['threshold'])}", "yes" if r["holds"] else "no",
         ", ".join(r["serves"]), r["why"]]
        for r in rules
    ]  # fmt: skip
    return [["asked", "found", "needed", "enough", "by", "why"], *rows]


def _figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def _days(days: Json) -> Section:
    empty = f"{days['days_without_events']:,} of {days['days']:,} days" if days["days_without_events"] else "no day"
    said = (
        f"{days['median_a_day']:,.0f} events on the median day, at most {days['most_on_a_day']:,} "
        f"({days['busiest_day']}); {empty} without any."
    )
    return Section("Events over time", [said], pictures=[pictures.per_day(days)])


def _tail(found: Json) -> Section:
    top = ", ".join(f"{reached:.0%} on the top {share}" for share, reached in found["top"].items())
    said = (
        f"Gini {found['gini']:.2f} (0: all items alike, near 1: one has all). Of the events, {top} of the items; of "
        f"the items, {found['items_of_under_5_events']:.0%} have fewer than five events, "
        f"{found['items_of_one_event']:.0%} one."
    )
    return Section("The long tail", [said], pictures=[pictures.long_tail(found)])


def _history(found: Json) -> Section:
    q = found["quantiles"]
    said = (
        f"{q['50%']:,.0f} events on the median user, {q['10%']:,.0f} or fewer on one in ten, {q['90%']:,.0f} or more "
        f"on one in ten; {found['users_of_under_3']:.0%} have fewer than three."
    )
    return Section("Histories", [said], pictures=[pictures.history(found)])


def _gaps(found: Json) -> Section:
    q = found["quantiles"]
    said = (
        f"Half of the pauses between two moments of a user are shorter than {_span(q['50%'])}, one in ten is longer "
        f"than {_span(q['90%'])}. Events of one moment have no pause."
    )
    return Section("Pauses", [said], pictures=[pictures.gaps(found)])


def _shares(found: Json) -> list[str]:
    ties = found["ties"]
    if ties is None:
        return ["The log has no times: nothing is known of ties, and the order is that of its rows."]
    said = [f"{ties['share']:.1%} of the events share their moment with another of their user."]
    if ties["outside_baskets"] is not None:
        said[0] = f"{said[0][:-1]}, {ties['outside_baskets']:.1%} without a basket that says so."
    return [*said, *(["All times are of one time of day: the log knows days, no hours."] if ties["whole_days"] else [])]


def _test(test: Json) -> Section:
    said = (
        f"{test['users']:,} users and {test['targets']:,} targets are asked about. Between users ndcg@10 has a "
        f"deviation of at most about {sufficiency.DEVIATION}: its 95% interval over n users is "
        f"± 1.96 × {sufficiency.DEVIATION} / √n."
    )
    return Section("The test", [said], pictures=[pictures.width(test["users"])])


def _missing(found: dict[str, dict[str, float]]) -> Section:
    if not found:
        return Section("Metadata", ["There is no table of items or users: name them under data.source.items, .users."])
    rows = sorted(((share, kind, column) for kind, of in found.items() for column, share in of.items()), reverse=True)
    lacking = [row for row in rows if row[0] > 0]
    said = ["A share of the items and users of the log; whoever lacks the whole row lacks every column."]
    if len(lacking) < len(rows):
        said.append(f"{len(rows) - len(lacking)} of {len(rows)} columns lack nothing.")
    if not lacking:
        return Section("Missing metadata", said[1:])
    drawn = {f"{kind}: {column}": share for share, kind, column in lacking[:DRAWN]}
    others = [[kind, column, rounded(share)] for share, kind, column in lacking[DRAWN:]]
    table = [["table", "column", "missing"], *others] if others else []
    return Section("Missing metadata", said, table, [pictures.missing(drawn)])


def _counts(counts: dict[str, int]) -> list[list[str]]:
    return [["rows", ""], *([name.replace("_", " "), f"{n:,}"] for name, n in counts.items())]


def _span(seconds: float) -> str:
    """A time in the largest unit of which it has at least two."""
    fits = [(name, span) for name, span in pictures.SPANS.items() if seconds >= 2 * span]
    name, span = fits[-1] if fits else ("second", 1)
    return f"{seconds / span:,.3g} {name}s"
