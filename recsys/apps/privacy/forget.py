"""`recsys forget`: a user leaves everything that was written, and no preparation lets them in again."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recsys.apps.privacy.end_sessions import end_sessions
from recsys.apps.privacy.learned_models import mark_artefact, mark_run, without_datasets
from recsys.apps.privacy.purge_files import Wanted, purge, still_there
from recsys.data.preparation.erased_users import ErasedUsers, format_erased_users
from recsys.errors import ConfigError
from recsys.pseudonyms import pseudonym, secret_key
from recsys.run import write_text

HALF = 32
"""hex digits of the pseudonyms in exposure logs"""
SHORT = 5
"""characters of an id that is found in any file by chance, and not looked for in bytes"""


def forget(
    user: Any,
    folder: str,
    where: Sequence[str],
    servers: Sequence[str],
    columns: Sequence[str],
    key: str,
    keys: Sequence[str],
) -> Iterator[str]:
    """What was done, line by line; settings as in configs/forget.yaml. Ends with status 1 where an id is left in a file
    that could not be mended. Raises ConfigError for an id that is none, a folder that is not there or a missing key.
    """
    users, own = _ids(user), secret_key(key)
    folders = [Path(folder), *map(Path, where)]
    for path in folders[1:]:
        if not path.is_dir():
            raise ConfigError(f"there is no folder '{path}'; name those that may hold users under where=[…]")
    folders[0].mkdir(parents=True, exist_ok=True)
    ledger = ErasedUsers(folders[0], key)
    write_text(ledger.path, format_erased_users(own, users, ledger))
    yield f"{ledger.path}: {len(users):,} users; no preparation in '{folder}' lets them in, whatever the source holds"
    names = frozenset(users) | _pseudonyms(users, key, *(name for name in keys if os.environ.get(name)))
    wanted = Wanted(names, frozenset(columns))
    deleted, held = without_datasets(folders, wanted)
    yield from (f"{path}: deleted: it held them, or may have" for path in deleted)
    yield from _marked(folders, held, wanted)
    yield from _purged(folders, wanted)
    yield from (end_sessions(server, users) for server in servers)
    yield from _searched(folders, names, ledger.path)


def _ids(user: Any) -> list[str]:
    given = user if isinstance(user, list) else [user]
    for one in given:
        if not isinstance(one, (str, int)) or isinstance(one, bool) or str(one) == "":
            raise ConfigError(f"user={one!r} is neither text nor a whole number; write it as user=\"'ID'\"")
    if not given:
        raise ConfigError("user=[] names nobody; write user=ID or user=[ID,ID]")
    return [str(one) for one in given]


def _pseudonyms(users: Iterable[str], *variables: str) -> frozenset[str]:
    """The users' pseudonyms under each key, whole and, as logs have them, their first half."""
    found = (pseudonym(os.environ[name].encode(), user) for name in variables for user in users)
    return frozenset(name for whole in found for name in (whole, whole[:HALF]))


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    """Every file once."""
    seen = {path.resolve(): path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}
    return iter(seen.values())


def _marked(folders: Sequence[Path], held: dict[str, bool], wanted: Wanted) -> Iterator[str]:
    """Runs and exported files, each with what it knew."""
    files = list(_files(folders))
    for config in (path for path in files if path.name == "config.yaml"):
        for checkpoint in mark_run(config.parent, held):
            yield f"{checkpoint}: learned from them; marked as stale, train again"
    for path in (path for path in files if path.suffix == ".onnx"):
        found = mark_artefact(path, held, wanted)
        if found == "held":
            yield f"{path}: held and learned from them; their ids are out, the old version is refused; train again"
        if found == "learned":
            yield f"{path}: learned from them, without their ids; marked as stale, served until you train again"


def _purged(folders: Sequence[Path], wanted: Wanted) -> Iterator[str]:
    """Tables, logs and stores, but for the figures of runs, which name nobody."""
    files = list(_files(folders))
    runs = {path.parent for path in files if path.name == "config.yaml"}
    for path in files:
        if path.suffix == ".json" and (path.parent in runs or path.name == "metadata.json"):
            continue
        try:
            removed = purge(path, wanted)
        except (ValueError, OSError) as error:
            yield f"{path}: cannot be read ({error}); look into it yourself"
            continue
        if removed:
            yield f"{path}: {removed:,} rows taken out"


def _searched(folders: Sequence[Path], names: Iterable[str], ledger: Path) -> Iterator[str]:
    """Whether the bytes of any file still hold an id."""
    files = [path for path in _files(folders) if path != ledger]
    sought = [name for name in names if len(name) > SHORT]
    left = still_there(files, sought)
    yield from (f"{path}: STILL HOLDS an id; delete it or mend it yourself" for path in left)
    short = "" if all(len(name) > SHORT for name in names) else f", but for ids of at most {SHORT} characters"
    yield f"searched {len(files):,} files for ids and pseudonyms{short}: {len(left) or 'none'} of them found"
    yield "the source is not ours to change: delete them there too; backups keep them until they are overwritten"
    if left:
        sys.exit(1)
