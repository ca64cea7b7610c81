"""`--help` of a command: what it does, what can be chosen, and every setting with its value and its comment."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from recsys.config.build import TRAINING_SETTINGS, parameters
from recsys.config.settings import config_dir

LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w@/.]+):(?P<value>[^#]*?)(?:\s+#\s*(?P<comment>.*))?$")
ASIDE = "  "
WIDTH = 20
EXAMPLES = {"train": "model.dim=32 for dim under model; -m runs a grid: -m model=two_tower,sasrec seed=1,2"}


def list_commands() -> str:
    """All commands, a line each."""
    lines = ["usage: recsys COMMAND [group=choice] [key=value] …; recsys COMMAND --help tells what it takes", ""]
    for path in sorted(config_dir().glob("*.yaml")):
        name, _, what = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"]["help"]["header"].partition(": ")
        lines.append(f"  {name.removeprefix('recsys '):<{WIDTH}}{what.partition(';')[0].rstrip('.')}")
    return "\n".join(lines)


def help_text(name: str, words: list[str]) -> str:
    """The help of the command `name`, its settings as the overrides `words` make them; raises Hydra's errors."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration(name, words, RunMode.RUN)
        files = loader.compute_defaults_list(name, words, RunMode.RUN).defaults
        options = {group: loader.get_group_options(group) for group in loader.list_groups("")}
    settings: Any = OmegaConf.to_container(config)
    taken = (
        set(parameters(settings["_target_"])) if "data" in settings and "_target_" in settings else TRAINING_SETTINGS
    )
    folders = [config_dir(), *(Path(path.removeprefix("file://")) for path in config.hydra.searchpath)]
    paths = [(folder / f"{file.config_path}.yaml", file.package or "") for file in files for folder in folders]
    comments = {key: text for path, package in paths if path.exists() for key, text in _comments(path, package)}
    choices = {group: aside for group, aside in _groups(name) if group not in TRAINING_SETTINGS - taken}
    usage = f"usage: recsys {name.replace('_', ' ')}{' [group=choice]' if choices else ''} [key=value] …"
    lines = [config.hydra.help.header, "", usage, ""]
    if choices:
        lines += ["Choose one of each group, with group=choice; [as it is]:", ""]
        lines += [
            f"  {group}: {_marked(config.hydra.runtime.choices[group], options[group])}{aside}"
            for group, aside in choices.items()
        ]
        lines += [""]
    lines += [f"Change any setting below, with key=value ({EXAMPLES.get(name, 'part.key=value inside a part')}):", ""]
    shown = {key: value for key, value in settings.items() if key != "hydra" and key not in TRAINING_SETTINGS - taken}
    return "\n".join([*lines, *(f"  {line}" for line in _settings(shown, comments, ""))])


def _groups(name: str) -> Iterator[tuple[str, str]]:
    """The groups that the command's own file chooses from, and those of a command whose words it takes, with the
    comments behind them.
    """
    text = (config_dir() / f"{name}.yaml").read_text(encoding="utf-8")
    for found in re.finditer(r"^  - (\w+)(: \w+)?(?: # (.*))?$", text.partition("hydra:")[0], re.MULTILINE):
        if found[2]:
            yield found[1], f"{ASIDE}# {found[3]}" if found[3] else ""
        elif found[1] != "_self_":
            yield from _groups(found[1])


def _marked(found: str | None, options: list[str]) -> str:
    known = [option for option in options if option != "base"]  # what data sets have in common is none
    shown = [f"[{option}]" if option == found else option for option in known]
    return ", ".join(shown if found in options else [f"[{found or 'null'}]", *shown])


def _comments(path: Path, package: str) -> Iterator[tuple[str, str]]:
    """The settings of a YAML file by their paths, and the comments behind them."""
    above = [""] * 20
    for line in path.read_text(encoding="utf-8").splitlines():
        found = LINE.match(line)
        if found:
            depth = len(found["indent"]) // 2
            above[depth] = found["key"]
            if found["comment"]:
                yield ".".join(part for part in (package, *above[: depth + 1]) if part), found["comment"]


def _settings(node: Mapping[str, Any], comments: Mapping[str, str], path: str) -> Iterator[str]:
    """A line a setting, without the names of classes."""
    for key, value in node.items():
        if str(key).startswith("_") or (isinstance(value, dict) and set(value) == {"_target_"}):
            continue
        own = f"{path}.{key}".lstrip(".")
        aside = f"{ASIDE}# {comments[own]}" if own in comments else ""
        if isinstance(value, dict) and value:
            yield f"{key}:{aside}"
            yield from (f"  {line}" for line in _settings(value, comments, own))
        else:
            said = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
            said = "must be given" if value == "???" else said.removesuffix("...\n").strip()
            yield f"{key}: {said}{aside}"
