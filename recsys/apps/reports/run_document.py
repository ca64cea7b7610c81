"""The page of `recsys report run`, from the numbers of its JSON file."""

from typing import Any

from recsys.apps.reports import run_charts
from recsys.apps.reports.run_results import METRICS
from recsys.document import ItemLists, ListItem, Section

Json = dict[str, Any]


def lay_out_run_report(report: Json) -> list[Section]:
    """The sections of the page; those that a run has no numbers for are left out or explain why."""
    k = report["k"]
    sections = [
        Section(f"Run: {report['model']} on {report['data']}", _describe_run(report)),
        _lay_out_figures(report),
        _lay_out_curves(report),
        _lay_out_coverage(report),
        *(_lay_out_groups(grouping, rankings, k) for grouping, rankings in report["by"].items()),
        *(_lay_out_segments(column, segments, k) for column, segments in report["segments"].items()),
        _lay_out_context(report["context"]),
        _lay_out_map(report["map"]),
        Section("Settings that differ from the defaults", CHANGED, _list_settings(report["settings"])),
        Section(
            "Training and environment", _describe_timing(report["timing"]), _list_environment(report["environment"])
        ),
        _lay_out_examples(report["examples"]),
    ]
    return [section for section in sections if section is not None]


ABLATIONS = ("unknown", "shuffled")
CHANGED = ["The defaults are those of recsys train with the same model and data."]


def _describe_run(report: Json) -> list[str]:
    test = report["test"]
    sentences = [report["verdict"], f"Split {report['split']['name']} {report['split']['hash'][:12]}."]
    if test:
        sentences[1] += (
            f" The test part has {test['n_targets']:,} targets of {test['n_users']:,} users; "
            f"{test['n_cold_targets']:,} targets were unknown in training (they count as misses)."
        )
        if report["ranked_users"] < test["n_users"]:
            sentences.append(
                f"The verdict and the segments are from a random sample of {report['ranked_users']:,} users (n_users)."
            )
    return sentences


def _lay_out_figures(report: Json) -> Section:
    rows, k = report["figures"], report["k"]
    if not rows:
        return Section("Model and baselines", ["The run was not evaluated: it has no metrics.json."])
    metrics = [metric for metric in METRICS if all(metric in row for row in rows)]
    head = ["", *(f"{metric.replace('_', ' ')}@{k}" for metric in metrics), "95% interval of ndcg"]
    table = [
        [row["name"], *(f"{row[metric]:.4f}" for metric in metrics), f"{row['low']:.4f}-{row['high']:.4f}"]
        for row in rows
    ]
    sentences = ["Metrics on the test part, with bootstrap intervals over the users.", *report["not_run"]]
    chart = run_charts.draw_ndcg_intervals(rows, k)
    return Section("Model and baselines", sentences, [head, *table], [chart], wide=True)


def _lay_out_curves(report: Json) -> Section:
    if not report["curves"]:
        return Section(
            "Learning curves", ["There are no curves: the model is fitted in closed form, or the run used logger=none."]
        )
    best = report["training"].get("epoch")
    sentences = (
        [] if best is None else [f"The weights are from epoch {best + 1}, the best on validation (dashed line)."]
    )
    return Section("Learning curves", sentences, pictures=[run_charts.draw_learning_curves(report["curves"], best)])


def _lay_out_coverage(report: Json) -> Section | None:
    rows = [row for row in report["figures"] if "coverage" in row]
    if not rows:
        return None
    sentence = "Higher: better rankings. Further right: more of the catalogue is recommended to someone."
    return Section("Accuracy and coverage", [sentence], pictures=[run_charts.draw_coverage(rows, report["k"])])


GROUPINGS = {
    "popularity of the target": "Targets by popularity of the item; each group has a third of all training events.",
    "history length": "Test users in quarters by their number of events before the test part.",
}


def _lay_out_groups(grouping: str, rankings: dict[str, list[Json]], k: int) -> Section:
    rows = [
        [group["segment"], _format_count(group["users"]), *map(_format_interval, (group, *others))]
        for group, *others in zip(*rankings.values(), strict=True)
    ]
    sentence = f"{GROUPINGS[grouping]} The figures are ndcg@{k} with 95% bootstrap intervals."
    has_figures = any("ndcg" in group for groups in rankings.values() for group in groups)
    charts = [run_charts.draw_segment_ndcg(grouping.replace(" ", "-"), rankings, k)] if has_figures else []
    return Section(f"By {grouping}", [sentence], [["", "users", *rankings], *rows], charts)


def _format_interval(group: Json) -> str:
    return f"{group['ndcg']:.4f} ({group['low']:.4f}-{group['high']:.4f})" if "ndcg" in group else "not shown"


def _format_count(users: int | str) -> str:
    return users if isinstance(users, str) else f"{users:,}"


def _lay_out_segments(column: str, segments: Json, k: int) -> Section:
    rows = [[value, f"{figures['users']:,}", f"{figures['ndcg']:.4f}"] for value, figures in segments.items()]
    sentence = "Values with too few users to publish are left out."
    return Section(f"By {column}", [sentence], [["", "users", f"ndcg@{k}"], *rows])


def _lay_out_context(context: Json | None) -> Section | None:
    if not context:
        return None
    metric, value = next((name, figure) for name, figure in context.items() if name not in ("fields", "all"))
    fields = {**context.get("fields", {}), **({"all of them": context["all"]} if "all" in context else {})}
    rows = [
        [name, *(_format_loss(figures.get(ablation), value) for ablation in ABLATIONS)]
        for name, figures in fields.items()
    ]
    sentence = (
        f"Validation {metric} is {value:.4f} with all context. The table shows the metric, and its change, "
        "where a field is unknown or has the value of another query (shuffled)."
    )
    return Section("What context contributes", [sentence], [["", *ABLATIONS], *rows])


def _format_loss(value: float | None, with_context: float) -> str:
    return "" if value is None else f"{value:.4f} ({value - with_context:+.4f})"


def _lay_out_map(item_map: Json | None) -> Section:
    if item_map is None:
        return Section("Map of items", ["This model has no item vectors to draw."])
    sentence = (
        f"The {len(item_map['items']):,} most popular items on the first two principal components of their vectors, "
        f"which explain {sum(item_map['share']):.0%} of the variance. Items that are close here may still differ in "
        "the other components."
    )
    colours = [f"The colours show the column {item_map['category']}."] if item_map["category"] else []
    return Section("Map of items", [sentence, *colours], pictures=[run_charts.draw_item_map(item_map)])


def _lay_out_examples(examples: list[Json]) -> Section | None:
    if not examples:
        return None
    sentence = (
        "Randomly drawn users, without their ids; items that are both recommended and targets are marked. A history "
        "can identify a person: leave the examples out of a page that you publish (n_examples=0)."
    )
    return Section("Examples", [sentence], lists=[*map(_lay_out_example, examples)], wide=True)


def _lay_out_example(example: Json) -> ItemLists:
    history = f"History (last {len(example['history'])} of {example['events_before']:,} events)"
    return ItemLists(
        f"Example {example['number']}",
        {
            history: [ListItem(title) for title in example["history"]],
            "Recommended": [ListItem(item["title"], item["hit"]) for item in example["list"]],
            f"Targets ({example['targets']:,})": [ListItem(item["title"], item["hit"]) for item in example["came"]],
        },
    )


def _list_settings(settings: dict[str, list[Any]]) -> list[list[str]]:
    rows = [[name, *("none" if value is None else str(value) for value in values)] for name, values in settings.items()]
    return [["setting", "default", "this run"], *rows] if rows else []


def _describe_timing(timing: Json) -> list[str]:
    if not timing:
        return ["No training time was recorded."]
    threads = "1 thread" if timing["threads"] == 1 else f"{timing['threads']} threads"
    return [
        f"{timing['epochs']} epochs took {timing['cpu_s_train']:,.0f} s of CPU time on {threads} "
        f"({timing['tokens_per_cpu_s']:,} events per CPU second) and at most {timing['peak_rss_mb']:,} MiB of memory."
    ]


def _list_environment(environment: Json) -> list[list[str]]:
    packages = environment.get("packages", {})
    machine = {name: environment.get(name) for name in ("commit", "python", "platform", "cpu_count", "gpu")}
    rows = [[name.replace("_", " "), str(value)] for name, value in {**machine, **packages}.items() if value]
    command = " ".join(map(str, environment.get("command", [])))
    return [["", ""], *rows, *([["command", command]] if command else [])]
