"""The page of a run, from its facts."""

from typing import Any

from recsys.apps.reports import run_charts as pictures
from recsys.apps.reports.run_facts import METRICS
from recsys.document import ItemLists, ListItem, Section

Json = dict[str, Any]


def sections(found: Json) -> list[Section]:
    """The page; what a run does not have is said or left out."""
    parts = [
        Section(f"Run: {found['model']} on {found['data']}", _head(found)),
        _figures(found),
        _curves(found),
        _coverage(found),
        *(_segments(split, rankings, found["k"]) for split, rankings in found["by"].items()),
        *(_columns(column, values, found["k"]) for column, values in found["segments"].items()),
        _context(found["context"]),
        _map(found["map"]),
        Section("Settings that are not the defaults", CHANGED, _settings(found["settings"])),
        Section("Made with", _timing(found["timing"]), _environment(found["environment"])),
        _examples(found["examples"]),
    ]
    return [part for part in parts if part is not None]


CONTEXT = ("unknown", "shuffled")
CHANGED = ["Beside those of recsys train with the same model and data."]


def _head(found: Json) -> list[str]:
    test = found["test"]
    said = [found["verdict"], f"Split {found['split']['name']} {found['split']['hash'][:12]}."]
    if test:
        said[1] += (
            f" {test['n_users']:,} test users with {test['n_targets']:,} targets, of which {test['n_cold_targets']:,} "
            "were first seen after training and count as misses."
        )
        if found["ranked_users"] < test["n_users"]:
            said.append(f"Verdict and segments are of {found['ranked_users']:,} of them, drawn by the seed (n_users).")
    return said


def _figures(found: Json) -> Section:
    rows, k = found["figures"], found["k"]
    if not rows:
        return Section("Model and baselines", ["The run was not ranked: it has no metrics.json."])
    shown = [metric for metric in METRICS if all(metric in row for row in rows)]
    head = ["", *(f"{metric.replace('_', ' ')}@{k}" for metric in shown), "95% of ndcg"]
    table = [
        [row["name"], *(f"{row[metric]:.4f}" for metric in shown), f"{row['low']:.4f}-{row['high']:.4f}"]
        for row in rows
    ]
    said = ["Test figures; intervals are bootstraps over the users.", *found["not_run"]]
    return Section("Model and baselines", said, [head, *table], [pictures.intervals(rows, k)], wide=True)


def _curves(found: Json) -> Section:
    if not found["curves"]:
        return Section("Learning curves", ["There are none: the model is of closed form, or ran with logger=none."])
    best = found["training"].get("epoch")
    said = [] if best is None else [f"The weights are those of epoch {best + 1}, the best on validation."]
    return Section("Learning curves", said, pictures=[pictures.curves(found["curves"], best)])


def _coverage(found: Json) -> Section | None:
    rows = [row for row in found["figures"] if "coverage" in row]
    if not rows:
        return None
    said = "Up: what people took stands high. Right: more of the catalogue is shown to somebody."
    return Section("Coverage against accuracy", [said], pictures=[pictures.coverage(rows, found["k"])])


def _segments(split: str, rankings: dict[str, list[Json]], k: int) -> Section:
    head = ["", "users", *rankings]
    rows = []
    for row, *others in zip(*rankings.values(), strict=True):
        rows.append([row["segment"], _count(row["users"]), *map(_interval, (row, *others))])
    said = {
        "popularity of the target": "Targets by thirds of the training events; each third of the items has as many.",
        "history length": "Test users by quarters of their events before the test.",
    }[split]
    some = any("ndcg" in row for of in rankings.values() for row in of)
    drawn = [pictures.segments(split.replace(" ", "-"), rankings, k)] if some else []
    said += f" ndcg@{k} with 95% bootstrap intervals."
    return Section(f"By {split}", [said], [head, *rows], drawn)


def _interval(row: Json) -> str:
    return f"{row['ndcg']:.4f} ({row['low']:.4f}-{row['high']:.4f})" if "ndcg" in row else "not shown"


def _count(users: int | str) -> str:
    return users if isinstance(users, str) else f"{users:,}"


def _columns(column: str, values: Json, k: int) -> Section:
    rows = [[value, f"{of['users']:,}", f"{of['ndcg']:.4f}"] for value, of in values.items()]
    said = "Values with too few users to be published are left out."
    return Section(f"By {column}", [said], [["", "users", f"ndcg@{k}"], *rows])


def _context(found: Json | None) -> Section | None:
    if not found:
        return None
    (metric, value), *_ = [(name, of) for name, of in found.items() if name not in ("fields", "all")]
    fields = {**found.get("fields", {}), **({"all of them": found["all"]} if "all" in found else {})}
    rows = [[name, *(_fallen(of.get(how), value) for how in CONTEXT)] for name, of in fields.items()]
    said = (
        f"Validation {metric} is {value:.4f} with all context. It falls by what a field brings where the field is "
        "unknown, or is another moment's (shuffled)."
    )
    return Section("What context brings", [said], [["", *CONTEXT], *rows])


def _fallen(value: float | None, whole: float) -> str:
    return "" if value is None else f"{value:.4f} ({value - whole:+.4f})"


def _map(found: Json | None) -> Section:
    if found is None:
        return Section("Map of items", ["A model of closed form has no vectors of items to draw."])
    said = (
        f"The {len(found['items']):,} most popular items, on the two directions in which their vectors differ most "
        f"({sum(found['share']):.0%} of the differences): near each other means alike only as far as these two tell."
    )
    colours = [f"Colours: the {found['category']} of an item."] if found["category"] else []
    return Section("Map of items", [said, *colours], pictures=[pictures.item_map(found)])


def _examples(found: list[Json]) -> Section | None:
    if not found:
        return None
    said = (
        "Users drawn by chance, without their ids; what the list has in common with what came is marked. Histories can "
        "tell who somebody is: leave them out of what is published (n_examples=0)."
    )
    return Section("Histories and lists", [said], lists=[_example(one) for one in found], wide=True)


def _example(one: Json) -> ItemLists:
    before, after = (f"{one[name]:,}" for name in ("events_before", "targets"))
    return ItemLists(
        f"Example {one['number']}",
        {
            f"Newest of {before} events before, latest last": [ListItem(title) for title in one["history"]],
            "Recommended": [ListItem(item["title"], item["hit"]) for item in one["list"]],
            f"What came ({after})": [ListItem(item["title"], item["hit"]) for item in one["came"]],
        },
    )


def _settings(changed: dict[str, list[Any]]) -> list[list[str]]:
    rows = [[name, *("none" if value is None else str(value) for value in of)] for name, of in changed.items()]
    return [["setting", "default", "this run"], *rows] if rows else []


def _timing(timing: Json) -> list[str]:
    if not timing:
        return ["No training was timed."]
    threads = "1 thread" if timing["threads"] == 1 else f"{timing['threads']} threads"
    return [
        f"{timing['epochs']} epochs in {timing['cpu_s_train']:,.0f} CPU-seconds of training on {threads}, "
        f"{timing['tokens_per_cpu_s']:,} events a CPU-second, {timing['peak_rss_mb']:,} MiB at most."
    ]


def _environment(environment: Json) -> list[list[str]]:
    packages = environment.get("packages", {})
    plain = {name: environment.get(name) for name in ("commit", "python", "platform", "cpu_count", "gpu")}
    rows = [[name.replace("_", " "), str(value)] for name, value in {**plain, **packages}.items() if value]
    command = " ".join(map(str, environment.get("command", [])))
    return [["", ""], *rows, *([["command", command]] if command else [])]
