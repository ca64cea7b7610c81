"""`--help` of a command: its purpose, the choices of each group, and every setting with its value and its comments."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from recsys.config.build import TRAINING_SETTINGS, parameters
from recsys.config.settings import config_dir

SETTING = re.compile(r"^(?P<indent> *)(?P<key>[\w@/.]+):(?P<value>[^#]*?)(?:\s+#\s*(?P<comment>.*))?$")
GROUP = re.compile(r"^  - (?P<name>\w+)(?P<choice>: \w+)?(?:\s+#\s*(?P<comment>.*))?$")
COMMENT_LINE = re.compile(r"^ *#(?!\s*@package)\s?(?P<text>.*)$")
MAX_DEPTH = 20
NAME_WIDTH = 20
EXAMPLES = {"train": "model.dim=32 for dim under model; -m runs a grid: -m model=two_tower,sasrec seed=1,2"}
DEFAULT_EXAMPLE = "section.key=value inside a section"


class Comments(NamedTuple):
    """The comments of a setting: lines above its key, and the text behind it ("": none)."""

    above: tuple[str, ...]
    behind: str


class _Composition(NamedTuple):
    """A command's settings as composed, the YAML files they come from with their packages, and the groups' choices."""

    config: DictConfig
    files: list[tuple[Path, str]]
    options: dict[str, list[str]]


def list_commands() -> str:
    """All commands, one per line."""
    lines = ["usage: recsys COMMAND [group=choice] [key=value] …; for the settings: recsys COMMAND --help", ""]
    for path in sorted(config_dir().glob("*.yaml")):
        header = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"]["help"]["header"]
        name, _, purpose = header.partition(": ")
        lines.append(f"  {name.removeprefix('recsys '):<{NAME_WIDTH}}{purpose.partition(';')[0].rstrip('.')}")
    return "\n".join(lines)


def help_text(name: str, words: list[str]) -> str:
    """The help of the command `name`, with settings as the overrides `words` change them; raises Hydra's errors."""
    composition = _compose(name, words)
    settings: Any = OmegaConf.to_container(composition.config)
    hidden = _hidden_settings(settings)
    groups = {group: comments for group, comments in _find_groups(name).items() if group not in hidden}
    visible = {key: value for key, value in settings.items() if key != "hydra" and key not in hidden}
    usage = f"usage: recsys {name.replace('_', ' ')}{' [group=choice]' if groups else ''} [key=value] …"
    lines = [
        *(composition.config.hydra.help.header, "", usage, ""),
        *_format_groups(groups, composition),
        f"Change any setting below, with key=value ({EXAMPLES.get(name, DEFAULT_EXAMPLE)}):",
        "",
        *(f"  {line}" for line in _format_settings(visible, _read_all_comments(composition), "")),
    ]
    return "\n".join(lines)


def _compose(name: str, words: list[str]) -> _Composition:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration(name, words, RunMode.RUN)
        files = loader.compute_defaults_list(name, words, RunMode.RUN).defaults
        options = {group: loader.get_group_options(group) for group in loader.list_groups("")}
    folders = [config_dir(), *(Path(path.removeprefix("file://")) for path in config.hydra.searchpath)]
    paths = [(folder / f"{file.config_path}.yaml", file.package or "") for file in files for folder in folders]
    return _Composition(config, [(path, package) for path, package in paths if path.exists()], options)


def _hidden_settings(settings: Mapping[str, Any]) -> set[str]:
    """The training settings that a command which only reads the data does not use."""
    if "data" not in settings or "_target_" not in settings:
        return set()
    return TRAINING_SETTINGS - set(parameters(settings["_target_"]))


def _find_groups(name: str) -> dict[str, Comments]:
    """The groups from which a command's file chooses, with their comments; includes the groups of another command on
    which the file is based.
    """
    groups: dict[str, Comments] = {}
    above: list[str] = []
    text = (config_dir() / f"{name}.yaml").read_text(encoding="utf-8")
    for line in text.partition("\nhydra:")[0].splitlines():
        group = GROUP.match(line)
        if group is None:
            above = _extend_comment(above, line)
            continue
        if group["choice"]:
            groups[group["name"]] = Comments(tuple(above), group["comment"] or "")
        elif group["name"] != "_self_":
            groups |= _find_groups(group["name"])
        above = []
    return groups


def _format_groups(groups: Mapping[str, Comments], composition: _Composition) -> Iterator[str]:
    if not groups:
        return
    yield from ("Choose one option per group, with group=choice; [current choice]:", "")
    for group, comments in groups.items():
        yield from (f"  # {line}" for line in comments.above)
        choice = composition.config.hydra.runtime.choices[group]
        yield f"  {group}: {_mark_choice(choice, composition.options[group])}{_format_comment(comments.behind)}"
    yield ""


def _mark_choice(choice: str | None, options: list[str]) -> str:
    names = [option for option in options if option != "base"]  # base holds what all data sets have in common
    marked = [f"[{name}]" if name == choice else name for name in names]
    return ", ".join(marked if choice in options else [f"[{choice or 'null'}]", *marked])


def _read_all_comments(composition: _Composition) -> dict[str, Comments]:
    """The comments of all files by setting; a file later in the order of composition replaces those of an earlier."""
    return {key: comments for path, package in composition.files for key, comments in _read_comments(path, package)}


def _read_comments(path: Path, package: str) -> Iterator[tuple[str, Comments]]:
    """The commented settings of a YAML file by their dotted paths, with the comment lines directly above the key and
    the comment behind it. Comments at the top of a file describe the file, not its first key.
    """
    parents = [""] * MAX_DEPTH
    above: list[str] = []
    is_top = True
    for line in path.read_text(encoding="utf-8").splitlines():
        setting = SETTING.match(line)
        if setting is None:
            above = _extend_comment(above, line)
            continue
        depth = len(setting["indent"]) // 2
        parents[depth] = setting["key"]
        comments = Comments(() if is_top else tuple(above), setting["comment"] or "")
        if any(comments):
            yield ".".join(name for name in (package, *parents[: depth + 1]) if name), comments
        above, is_top = [], False


def _extend_comment(above: list[str], line: str) -> list[str]:
    """The comment lines collected so far, with one more; any other line ends the comment."""
    comment = COMMENT_LINE.match(line)
    return [*above, comment["text"].rstrip()] if comment else []


def _format_comment(comment: str) -> str:
    return f"  # {comment}" if comment else ""


def _format_settings(node: Mapping[str, Any], comments: Mapping[str, Comments], path: str) -> Iterator[str]:
    """One line per setting, after the comment lines above it; names of classes are left out."""
    for key, value in node.items():
        if str(key).startswith("_") or (isinstance(value, dict) and set(value) == {"_target_"}):
            continue
        full_path = f"{path}.{key}".lstrip(".")
        above, behind = comments.get(full_path, Comments((), ""))
        yield from (f"# {line}" for line in above)
        if isinstance(value, dict) and value:
            yield f"{key}:{_format_comment(behind)}"
            yield from (f"  {line}" for line in _format_settings(value, comments, full_path))
        else:
            yield f"{key}: {_format_value(value)}{_format_comment(behind)}"


def _format_value(value: Any) -> str:
    if value == "???":
        return "must be given"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("...\n").strip()
