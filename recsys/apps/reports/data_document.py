"""The page of `recsys report data`, from the numbers of its JSON file."""

from typing import Any

from recsys.apps.reports import data_charts
from recsys.apps.reports.charts import format_percent
from recsys.apps.reports.sufficiency import DEVIATION
from recsys.document import Section

Json = dict[str, Any]
MAX_BARS = 10
"""bars in the chart of missing metadata; further columns are listed in a table"""
ROWS = ["Rows that cannot be used go to quarantine.parquet, with the reason."]


def lay_out_data_report(report: Json) -> list[Section]:
    """The sections of the page; `report` is the result of `compute_data_report`."""
    return [
        Section(f"Data: {report['name']}", _describe_size(report)),
        Section("Enough data?", report["verdict"]["said"], _list_rules(report["verdict"]["rules"]), wide=True),
        *([_lay_out_activity(report["days"])] if report["days"] else []),
        _lay_out_long_tail(report["popularity"]),
        _lay_out_histories(report["history"]),
        *([_lay_out_pauses(report["gaps"])] if report["gaps"] else []),
        _lay_out_repeats(report),
        _lay_out_test(report["test"]),
        _lay_out_missing(report["missing"]),
        Section("From rows to events", ROWS, _list_counts(report["counts"])),
    ]


def _describe_size(report: Json) -> list[str]:
    size, split = report["size"], report["split"]
    span = f" from {size['first_day']} to {size['last_day']}" if "first_day" in size else ", without times"
    targets = "" if size["targets"] == size["events"] else f" ({size['targets']:,} of them targets)"
    repeats = "left out of rankings" if report["exclude_seen"] else "ranked too"
    return [
        f"{size['events']:,} events{targets} by {size['users']:,} users on {size['items']:,} items{span}; "
        f"{100 * size['density']:,.3g} events per 100 user-item pairs.",
        f"Split {split['name']} {split['hash'][:12]}. Items that a user already had are {repeats}.",
    ]


def _list_rules(rules: list[Json]) -> list[list[str]]:
    rows = [
        [
            rule["asked"],
            _format_value(rule["found"], rule["threshold"]),
            f"≥ {_format_value(rule['threshold'], rule['threshold'])}",
            "yes" if rule["holds"] else "no",
            ", ".join(rule["serves"]),
            rule["why"],
        ]
        for rule in rules
    ]
    return [["requirement", "this log", "needed", "met", "needed by", "reason"], *rows]


def _format_value(number: float, threshold: float) -> str:
    """A number of a rule; thresholds below 1 are those of fractions, which are written as per cent."""
    if threshold < 1:
        return f"{number:.1%}"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def _lay_out_activity(days: Json) -> Section:
    n_empty = days["days_without_events"]
    empty = f"{n_empty:,} of {days['days']:,} days have none" if n_empty else "every day has some"
    sentence = (
        f"The median day has {days['median_a_day']:,.0f} events, the busiest ({days['busiest_day']}) has "
        f"{days['most_on_a_day']:,}; {empty}."
    )
    return Section("Events over time", [sentence], pictures=[data_charts.draw_events_over_time(days)])


def _lay_out_long_tail(popularity: Json) -> Section:
    (fewest, fraction), *others = popularity["top"].items()
    top = f"The most popular {fewest} of items have {fraction:.0%} of the events"
    top += "".join(f", the top {items} have {fraction:.0%}" for items, fraction in others)
    sentences = [
        f"The Gini coefficient is {popularity['gini']:.2f} (0: all items are equally popular; near 1: one item has "
        "almost all events).",
        f"{top}. {popularity['items_of_under_5_events']:.0%} of items have fewer than five events, "
        f"{popularity['items_of_one_event']:.0%} have only one.",
    ]
    return Section("The long tail", sentences, pictures=[data_charts.draw_long_tail(popularity)])


def _lay_out_histories(history: Json) -> Section:
    quantiles = history["quantiles"]
    sentence = (
        f"The median user has {quantiles['50%']:,.0f} events. One user in ten has {quantiles['10%']:,.0f} or fewer, "
        f"one in ten has {quantiles['90%']:,.0f} or more, and {history['users_of_under_3']:.0%} have fewer than three."
    )
    return Section("Histories", [sentence], pictures=[data_charts.draw_history_lengths(history)])


def _lay_out_pauses(pauses: Json) -> Section:
    median, long = (_format_duration(pauses["quantiles"][level]) for level in ("50%", "90%"))
    sentence = (
        f"Half of the pauses between events of a user are shorter than {median}; one in ten is longer than {long}. "
        "Events with the same time have no pause between them."
    )
    return Section("Pauses", [sentence], pictures=[data_charts.draw_pauses(pauses)])


def _lay_out_repeats(report: Json) -> Section:
    chart = data_charts.draw_repeats_and_novelty(report)
    return Section("Repeats, new items and ties", _describe_ties(report["ties"]), pictures=[chart])


def _describe_ties(ties: Json | None) -> list[str]:
    if ties is None:
        return ["The log has no times: ties are unknown, and the order of events is that of the rows."]
    sentences = [f"{_describe_tied_events(ties)}."]
    if ties["whole_days"]:
        sentences.append("All events have the same time of day: the log records days, but not hours.")
    return sentences


def _describe_tied_events(ties: Json) -> str:
    if not ties["share"]:
        return "No event has the same time as another event of its user"
    tied = f"{ties['share']:.1%} of events have the same time as another event of their user"
    if ties["outside_baskets"] is None:
        return tied
    if ties["outside_baskets"]:
        return f"{tied}; {ties['outside_baskets']:.1%} do so without a common order number, in arbitrary order"
    return f"{tied}; all have an order number, nothing to do"


def _lay_out_test(test: Json) -> Section:
    sentence = (
        f"The test part has {test['targets']:,} targets of {test['users']:,} users. The standard deviation of ndcg@10 "
        f"between users is at most about {DEVIATION}, so its 95% interval with n users is ± 1.96 × {DEVIATION} / √n."
    )
    return Section("The test part", [sentence], pictures=[data_charts.draw_interval_width(test["users"])])


def _lay_out_missing(missing: dict[str, dict[str, float]]) -> Section:
    if not missing:
        return Section(
            "Metadata", ["There are no item and user tables; name them in data.source.items and data.source.users."]
        )
    rows = [(fraction, table, column) for table, columns in missing.items() for column, fraction in columns.items()]
    incomplete = sorted((row for row in rows if row[0] > 0), reverse=True)
    sentences = [
        "Share of items and users of the log with an empty cell. A missing row counts as missing in every column."
    ]
    if len(incomplete) < len(rows):
        sentences.append(f"{len(rows) - len(incomplete)} of {len(rows)} columns are complete.")
    if not incomplete:
        return Section("Missing metadata", sentences[1:])
    bars = {f"{table}: {column}": fraction for fraction, table, column in incomplete[:MAX_BARS]}
    others = [[table, column, format_percent(fraction)] for fraction, table, column in incomplete[MAX_BARS:]]
    listing = [["table", "column", "missing"], *others] if others else []
    return Section("Missing metadata", sentences, listing, [data_charts.draw_missing_metadata(bars)])


def _list_counts(counts: dict[str, int]) -> list[list[str]]:
    return [["rows", ""], *([name.replace("_", " "), f"{n:,}"] for name, n in counts.items())]


def _format_duration(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two."""
    units = [(name, length) for name, length in data_charts.TIME_UNITS.items() if seconds >= 2 * length]
    name, length = units[-1] if units else ("second", 1)
    return f"{seconds / length:,.3g} {name}s"
