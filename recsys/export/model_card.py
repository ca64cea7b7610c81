"""The model card: what a run is and is not good for, written for people from the files in its folder."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recsys.document import Section, render_page
from recsys.errors import ConfigError
from recsys.run import Run, write_text

Json = dict[str, Any]
METRICS = ("ndcg", "hr", "recall", "coverage", "gini", "popularity_lift")
MAX_ROWS = 20
"""rows per table, as the card is a part of the exported file"""


def write_card(run: str) -> list[str]:
    """Write card.md and card.html into a run's folder and return their paths; ConfigError if it has no metrics."""
    opened_run = Run.open(run)
    sections = build_card(opened_run)
    write_text(opened_run.folder / "card.md", render_card_markdown(sections))
    write_text(opened_run.folder / "card.html", render_page(sections))
    return [f"{opened_run.folder / name}" for name in ("card.md", "card.html")]


def build_card(run: Run) -> list[Section]:
    """The sections of a run's card; ConfigError for a run without metrics."""
    metrics = _read(run.folder / "metrics.json")
    if not metrics:
        raise ConfigError(f"'{run.folder}' has no metrics.json: its training has not ended")
    data, audit = _read(run.folder / "data.json"), _read(run.folder / "audit.json")
    model = str(run.config.model._target_).split(".")[-2]
    return [
        Section(f"Model card: {model} on {data.get('name', run.config.data.name)}", _describe_use(run)),
        Section("Data", _describe_data(data, metrics)),
        Section(
            "Ranking quality", ["95% intervals come from bootstraps over test users."], _metrics_rows(model, metrics)
        ),
        Section("Quality by group", _describe_groups(audit), _gap_rows(audit) or _segment_rows(metrics)),
        Section("Variety of the lists", _describe_variety(metrics)),
        Section("Privacy of training users", _describe_membership(audit)),
        Section("Consent and opting out", _describe_consent(data)),
        Section("Limits", LIMITS),
        Section("Made with", _describe_versions(_read(run.folder / "environment.json"), run)),
    ]


def render_card_markdown(sections: Iterable[Section]) -> str:
    """The card as Markdown."""
    blocks = []
    for level, section in enumerate(sections):
        lines = [f"{'##' if level else '#'} {section.title}", "", *(f"{sentence}\n" for sentence in section.sentences)]
        if section.rows:
            head, *rows = [["\\|".join(cell.split("|")) for cell in row] for row in section.rows]
            lines += [_line(head), _line(["---"] * len(head)), *map(_line, rows), ""]
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


INTERVALS = "95% intervals are bootstraps over the test users."
LIMITS = (
    "The metrics describe the past: how high the model ranked what people chose anyway, not what its lists change.",
    "A list is based on what followed similar histories. It knows nothing of needs, future prices or the reader's age.",
    "Groups are those that the shop's data tell apart; gaps between other groups cannot be seen here.",
)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _read(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _describe_use(run: Run) -> list[str]:
    purpose = "The model ranks the items of one catalogue after a history of raw ids, for recommendations in that shop."
    stale = _read(run.folder / "stale.json")
    return [purpose, *([f"STALE: {stale['why']}; train again."] if stale else [])]


def _describe_data(data: Json, metrics: Json) -> list[str]:
    counts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in data.get("counts", {}).items())
    split = data.get("split", {}).get("name", "unknown")
    seen = "lists leave out items that the user already had" if data.get("exclude_seen") else "lists may repeat items"
    return [
        *([f"Events: {counts}."] if counts else []),
        f"{metrics['n_users']:,} users and {metrics['n_items']:,} items in training; {seen}.",
        f"Split: {split}, hash {metrics['split_hash'][:12]}. Metrics with the same hash are comparable.",
    ]


def _metrics_rows(model: str, metrics: Json) -> list[list[str]]:
    """A row of test metrics for the model and for each baseline."""
    test = metrics["test"]
    k = 10 if "ndcg@10" in test else max(int(name[5:]) for name in test if name.startswith("ndcg@") and "/" not in name)
    baselines = metrics.get("baselines", {}).items()
    metrics_by_model = {model: test} | {name: parts["test"] for name, parts in baselines if isinstance(parts, dict)}
    names = [f"{name}@{k}" for name in METRICS]
    rows = [
        [name, *(f"{values[metric]:.4f}" for metric in names), _interval(values, names[0])]
        for name, values in metrics_by_model.items()
    ]
    return [["", *names, f"95% interval of {names[0]}"], *rows]


def _interval(values: Json, metric: str) -> str:
    return f"{values[metric + '/low']:.4f}-{values[metric + '/high']:.4f}"


def _describe_groups(audit: Json) -> list[str]:
    if audit:
        return ["NDCG of each group of users, and its gap to all other users (negative: worse than theirs)."]
    return ["recsys audit has not run for this model, so gaps have no intervals here."]


def _gap_rows(audit: Json) -> list[list[str]]:
    rows = []
    for group in audit.get("gaps", [])[:MAX_ROWS]:
        gap = f"{group['gap']:+.4f} ({group['low']:+.4f} to {group['high']:+.4f})"
        rows.append([group["group"], group["value"], f"{group['users']:,}", f"{group['ndcg']:.4f}", gap])
    return [["group", "value", "users", f"ndcg@{audit['k']}", "gap (95%)"], *rows] if rows else []


def _segment_rows(metrics: Json) -> list[list[str]]:
    columns = metrics["test"].get("segments", {})
    segments = [(column, value, of) for column, values in columns.items() for value, of in values.items()][:MAX_ROWS]
    ndcg = next((name for _, _, of in segments for name in of if name.startswith("ndcg")), "ndcg")
    rows = [[column, value, f"{of['n_users']:,}", f"{of[ndcg]:.4f}"] for column, value, of in segments]
    return [["segment", "value", "users", ndcg], *rows] if rows else []


def _describe_variety(metrics: Json) -> list[str]:
    test = metrics["test"]
    k = "10" if "coverage@10" in test else next(name[9:] for name in test if name.startswith("coverage@"))
    lift, gini = test[f"popularity_lift@{k}"], test[f"gini@{k}"]
    return [
        f"Its lists of {k} show {test[f'coverage@{k}']:.1%} of the catalogue, with a Gini coefficient of {gini:.2f} "
        f"(1: all on one item). Their items are {lift:.2f} times as popular as those that users choose."
    ]


def _describe_membership(audit: Json) -> list[str]:
    attack = audit.get("membership", {})
    if "auc" not in attack:
        return [f"Membership attack: {attack.get('reason', 'not measured (recsys audit)')}."]
    return [
        f"An attacker who has the file and a person's events tells training users from others with an AUC of "
        f"{attack['auc']:.3f} (95% interval {attack['low']:.3f} to {attack['high']:.3f}; 0.5 is chance), measured on "
        f"{attack['n_members']:,} training users and {attack['n_others']:,} others."
    ]


def _describe_consent(data: Json) -> list[str]:
    privacy = data.get("privacy") or {}
    basis = "Nobody's consent was asked for when the data were prepared (data.privacy.consent is null)."
    if privacy.get("consent"):
        dropped = data["counts"].get("no_consent", 0)
        basis = (
            f"The model learned only from people who consented to '{privacy['purpose']}'; "
            f"{dropped:,} events of others were left out."
        )
    ids = "as pseudonyms (HMAC-SHA256)" if privacy.get("pseudonyms") else "as the ids of the source"
    return [
        f"{basis} The prepared data hold user ids {ids}.",
        "To opt a user out of personalised lists, write a no into the consent table that the server reads; the same "
        "call is then answered without anything about the person. To erase a user, run recsys forget; the next "
        "training is without that user.",
    ]


def _describe_versions(environment: Json, run: Run) -> list[str]:
    packages = environment.get("packages", {})
    versions = ", ".join(f"{name} {packages[name]}" for name in ("recsys", "torch", "numpy") if packages.get(name))
    return [f"{versions or 'unknown versions'}; seed {run.config.seed}."]
