"""The page of `recsys report data`, from the numbers of its JSON file."""

from typing import Any

from recsys.apps.reports import data_charts
from recsys.apps.reports.charts import format_percent
from recsys.apps.reports.sufficiency import DEVIATION
from recsys.document import Section

Json = dict[str, Any]
MAX_BARS = 10
"""bars in the chart of missing metadata; further columns are listed in a table"""
ROWS = ["Every row that was read is kept or set aside under the name of the rule that it breaks (quarantine.parquet)."]


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
    targets = "" if size["targets"] == size["events"] else f", {size['targets']:,} of them to be predicted"
    repeats = "items already had are left out of rankings" if report["exclude_seen"] else "repeats are ranked"
    return [
        f"{size['events']:,} events{targets}, of {size['users']:,} users with {size['items']:,} items{span}; "
        f"{100 * size['density']:,.3g} events for 100 pairs of a user and an item.",
        f"Split {split['name']} {split['hash'][:12]}; {repeats}.",
    ]


def _list_rules(rules: list[Json]) -> list[list[str]]:
    rows = [
        [
            rule["asked"],
            _format_number(rule["found"]),
            f"≥ {_format_number(rule['threshold'])}",
            "yes" if rule["holds"] else "no",
            ", ".join(rule["serves"]),
            rule["why"],
        ]
        for rule in rules
    ]
    return [["asked", "found", "needed", "enough", "by", "why"], *rows]


def _format_number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.3g}"


def _lay_out_activity(days: Json) -> Section:
    empty = f"{days['days_without_events']:,} of {days['days']:,} days" if days["days_without_events"] else "no day"
    sentence = (
        f"{days['median_a_day']:,.0f} events on the median day, at most {days['most_on_a_day']:,} "
        f"({days['busiest_day']}); {empty} without any."
    )
    return Section("Events over time", [sentence], pictures=[data_charts.draw_events_over_time(days)])


def _lay_out_long_tail(popularity: Json) -> Section:
    top = ", ".join(f"{fraction:.0%} on the top {items}" for items, fraction in popularity["top"].items())
    sentence = (
        f"Gini {popularity['gini']:.2f} (0: all items alike, near 1: one has all). Of the events, {top} of the items; "
        f"of the items, {popularity['items_of_under_5_events']:.0%} have fewer than five events, "
        f"{popularity['items_of_one_event']:.0%} one."
    )
    return Section("The long tail", [sentence], pictures=[data_charts.draw_long_tail(popularity)])


def _lay_out_histories(history: Json) -> Section:
    quantiles = history["quantiles"]
    sentence = (
        f"{quantiles['50%']:,.0f} events on the median user, {quantiles['10%']:,.0f} or fewer on one in ten, "
        f"{quantiles['90%']:,.0f} or more on one in ten; {history['users_of_under_3']:.0%} have fewer than three."
    )
    return Section("Histories", [sentence], pictures=[data_charts.draw_history_lengths(history)])


def _lay_out_pauses(pauses: Json) -> Section:
    quantiles = pauses["quantiles"]
    sentence = (
        f"Half of the pauses between two moments of a user are shorter than {_format_duration(quantiles['50%'])}, one "
        f"in ten is longer than {_format_duration(quantiles['90%'])}. Events of one moment have no pause."
    )
    return Section("Pauses", [sentence], pictures=[data_charts.draw_pauses(pauses)])


def _lay_out_repeats(report: Json) -> Section:
    chart = data_charts.draw_repeats_and_novelty(report)
    return Section("What comes again, and what is new", _describe_ties(report["ties"]), pictures=[chart])


def _describe_ties(ties: Json | None) -> list[str]:
    if ties is None:
        return ["The log has no times: nothing is known of ties, and the order is that of its rows."]
    sentences = [f"{ties['share']:.1%} of the events share their moment with another of their user."]
    if ties["outside_baskets"] is not None:
        sentences[0] = f"{sentences[0][:-1]}, {ties['outside_baskets']:.1%} without a basket that says so."
    if ties["whole_days"]:
        sentences.append("All times are of one time of day: the log knows days, no hours.")
    return sentences


def _lay_out_test(test: Json) -> Section:
    sentence = (
        f"{test['users']:,} users and {test['targets']:,} targets are asked about. Between users ndcg@10 has a "
        f"deviation of at most about {DEVIATION}: its 95% interval over n users is "
        f"± 1.96 × {DEVIATION} / √n."
    )
    return Section("The test", [sentence], pictures=[data_charts.draw_interval_width(test["users"])])


def _lay_out_missing(missing: dict[str, dict[str, float]]) -> Section:
    if not missing:
        return Section("Metadata", ["There is no table of items or users: name them under data.source.items, .users."])
    rows = [(fraction, table, column) for table, columns in missing.items() for column, fraction in columns.items()]
    incomplete = sorted((row for row in rows if row[0] > 0), reverse=True)
    sentences = ["A share of the items and users of the log; whoever lacks the whole row lacks every column."]
    if len(incomplete) < len(rows):
        sentences.append(f"{len(rows) - len(incomplete)} of {len(rows)} columns lack nothing.")
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
