"""The model card: what a run is and is not good for, from what stands in its folder, for people to read."""

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
"""rows of a table: the card is part of the exported file"""


def write_card(run: str) -> list[str]:
    """Writes card.md and card.html into the run; settings as in configs/card.yaml. Raises ConfigError."""
    found = Run.open(run)
    sections = build_card(found)
    write_text(found.folder / "card.md", render_card_markdown(sections))
    write_text(found.folder / "card.html", render_page(sections))
    return [f"{found.folder / name}" for name in ("card.md", "card.html")]


def build_card(run: Run) -> list[Section]:
    """The card of a run that was ranked; ConfigError for one that was not."""
    metrics = _read(run.folder / "metrics.json")
    if not metrics:
        raise ConfigError(f"'{run.folder}' has no metrics.json: its training has not ended")
    data, audit = _read(run.folder / "data.json"), _read(run.folder / "audit.json")
    model = str(run.config.model._target_).split(".")[-2]
    return [
        Section(f"Model card: {model} on {data.get('name', run.config.data.name)}", _use(run)),
        Section("Data", _data(data, metrics)),
        Section("How well it ranks", ["95 % intervals are bootstraps over the test users."], _figures(model, metrics)),
        Section("For whom", _whom(audit), _gaps(audit) or _segments(metrics)),
        Section("What it pushes", _pushes(metrics)),
        Section("Whom it betrays", _betrays(audit)),
        Section("Consent and opting out", _consent(data)),
        Section("Limits", LIMITS),
        Section("Made with", _made(_read(run.folder / "environment.json"), run)),
    ]


def render_card_markdown(sections: Iterable[Section]) -> str:
    """The card as Markdown."""
    parts = []
    for level, section in enumerate(sections):
        lines = [f"{'##' if level else '#'} {section.title}", "", *(f"{one}\n" for one in section.sentences)]
        if section.rows:
            head, *rows = [["\\|".join(cell.split("|")) for cell in row] for row in section.rows]
            lines += [_line(head), _line(["---"] * len(head)), *map(_line, rows), ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


LIMITS = (
    "The figures are of the past: they say how high what people had anyway was ranked, not what a list changes.",
    "A list tells what similar histories led to. It knows no needs, no prices of tomorrow and no age of the reader.",
    "Groups are told apart by what the shop keeps; a gap in what it does not keep is not seen here.",
)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _read(path: Path) -> Json:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _use(run: Run) -> list[str]:
    said = "It ranks the items of one catalogue after a history of raw ids, for recommendations in that shop."
    stale = _read(run.folder / "stale.json")
    return [said, *([f"STALE: {stale['why']}; train again."] if stale else [])]


def _data(data: Json, metrics: Json) -> list[str]:
    counts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in data.get("counts", {}).items())
    split = data.get("split", {}).get("name", "unknown")
    seen = "items already had are left out" if data.get("exclude_seen") else "repeats are ranked"
    return [
        *([f"Events: {counts}."] if counts else []),
        f"{metrics['n_users']:,} users and {metrics['n_items']:,} items in training; {seen}.",
        f"Split {split}, hash {metrics['split_hash'][:12]}: figures with the same hash are comparable.",
    ]


def _figures(model: str, metrics: Json) -> list[list[str]]:
    """A line for the model and each baseline, on the test part."""
    test = metrics["test"]
    k = 10 if "ndcg@10" in test else max(int(name[5:]) for name in test if name.startswith("ndcg@") and "/" not in name)
    ran = {model: test} | {
        name: of["test"] for name, of in metrics.get("baselines", {}).items() if isinstance(of, dict)
    }
    names = [f"{name}@{k}" for name in METRICS]
    rows = [
        [name, *(f"{of[metric]:.4f}" for metric in names), f"{of[names[0] + '/low']:.4f}-{of[names[0] + '/high']:.4f}"]
        for name, of in ran.items()
    ]
    return [["", *names, f"95 % of {names[0]}"], *rows]


def _whom(audit: Json) -> list[str]:
    if audit:
        return ["NDCG of each group of users, and how far it is above (below: negative) everybody else's."]
    return ["No audit was made (recsys audit): gaps have no intervals here."]


def _gaps(audit: Json) -> list[list[str]]:
    rows = []
    for of in audit.get("gaps", [])[:MAX_ROWS]:
        gap = f"{of['gap']:+.4f} ({of['low']:+.4f} to {of['high']:+.4f})"
        rows.append([of["group"], of["value"], f"{of['users']:,}", f"{of['ndcg']:.4f}", gap])
    return [["group", "value", "users", f"ndcg@{audit['k']}", "gap (95 %)"], *rows] if rows else []


def _segments(metrics: Json) -> list[list[str]]:
    columns = metrics["test"].get("segments", {})
    flat = [(column, value, of) for column, values in columns.items() for value, of in values.items()][:MAX_ROWS]
    ndcg = next((name for _, _, of in flat for name in of if name.startswith("ndcg")), "ndcg")
    rows = [[column, value, f"{of['n_users']:,}", f"{of[ndcg]:.4f}"] for column, value, of in flat]
    return [["segment", "value", "users", ndcg], *rows] if rows else []


def _pushes(metrics: Json) -> list[str]:
    test = metrics["test"]
    k = "10" if "coverage@10" in test else next(name[9:] for name in test if name.startswith("coverage@"))
    lift, gini = test[f"popularity_lift@{k}"], test[f"gini@{k}"]
    return [
        f"Its lists of {k} show {test[f'coverage@{k}']:.1%} of the catalogue, with a Gini coefficient of {gini:.2f} "
        f"(1: all on one item). Their items are {lift:.2f} times as popular as what is consumed."
    ]


def _betrays(audit: Json) -> list[str]:
    found = audit.get("membership", {})
    if "auc" not in found:
        return [f"Membership attack: {found.get('reason', 'not measured (recsys audit)')}."]
    return [
        f"An attacker with the file and somebody's events tells who was learned from with an AUC of {found['auc']:.3f} "
        f"(95 % {found['low']:.3f} to {found['high']:.3f}; .5 is by chance), {found['n_members']:,} members against "
        f"{found['n_others']:,} others."
    ]


def _consent(data: Json) -> list[str]:
    asked = data.get("privacy") or {}
    basis = "Nobody's consent was asked for when the data were prepared (data.privacy.consent is null)."
    if asked.get("consent"):
        left = data["counts"].get("no_consent", 0)
        basis = f"Learned only from whoever said yes to '{asked['purpose']}'; {left:,} events of others were left out."
    names = "pseudonyms (HMAC-SHA256)" if asked.get("pseudonyms") else "ids as the source has them"
    return [
        f"{basis} The prepared data know users by {names}.",
        "Opting out of personalised lists: a no in the table of consents that the server reads; the same call then "
        "answers from the moment alone. Erasure: recsys forget, and the next training is without them.",
    ]


def _made(environment: Json, run: Run) -> list[str]:
    packages = environment.get("packages", {})
    versions = ", ".join(f"{name} {packages[name]}" for name in ("recsys", "torch", "numpy") if packages.get(name))
    return [f"{versions or 'unknown versions'}; seed {run.config.seed}."]
