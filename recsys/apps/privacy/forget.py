"""`recsys forget`: removes users from all files, and keeps future preparations from admitting them again."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recsys.apps.privacy.end_sessions import end_sessions
from recsys.apps.privacy.learned_models import delete_datasets, mark_model_file, mark_run
from recsys.apps.privacy.purge_files import ErasedIds, find_files_with_ids, purge_file
from recsys.data.preparation.erased_users import ErasedUsers, format_erased_users
from recsys.errors import ConfigError
from recsys.pseudonyms import pseudonym, read_secret_key
from recsys.run import write_text

EXPOSURE_DIGITS = 32
"""hex digits of the pseudonyms in exposure logs"""
SHORT = 5
"""characters up to which an id occurs in any file by chance, so that bytes are not searched for it"""


def forget(
    user: Any,
    folder: str,
    where: Sequence[str],
    servers: Sequence[str],
    columns: Sequence[str],
    key: str,
    keys: Sequence[str],
) -> Iterator[str]:
    """Yields one line per change. The settings are those of configs/forget.yaml.

    Exits with status 1 if an id is left in a file that could not be cleaned. Raises ConfigError for an invalid id, a
    missing folder or a missing key.
    """
    users, secret = _check_ids(user), read_secret_key(key)
    folders = [Path(folder), *map(Path, where)]
    for path in folders[1:]:
        if not path.is_dir():
            raise ConfigError(f"there is no folder '{path}'; name those that may contain users under where=[…]")
    folders[0].mkdir(parents=True, exist_ok=True)
    erased_users = ErasedUsers(folders[0], key)
    write_text(erased_users.path, format_erased_users(secret, users, erased_users))
    yield f"{erased_users.path}: {len(users):,} users; preparations in '{folder}' leave them out from now on"
    ids = frozenset(users) | _make_pseudonyms(users, key, *(name for name in keys if os.environ.get(name)))
    erased = ErasedIds(ids, frozenset(columns))
    deleted, contains_user = delete_datasets(folders, erased)
    yield from (f"{path}: deleted, since it contained them or may have" for path in deleted)
    yield from _mark_models(folders, contains_user, erased)
    yield from _purge_folders(folders, erased)
    yield from (end_sessions(server, users) for server in servers)
    yield from _search_folders(folders, ids, erased_users.path)


def _check_ids(user: Any) -> list[str]:
    users = user if isinstance(user, list) else [user]
    for user_id in users:
        if not isinstance(user_id, (str, int)) or isinstance(user_id, bool) or str(user_id) == "":
            raise ConfigError(f"user={user_id!r} is neither text nor a whole number; write it as user=\"'ID'\"")
    if not users:
        raise ConfigError("user=[] names nobody; write user=ID or user=[ID,ID]")
    return [str(user_id) for user_id in users]


def _make_pseudonyms(users: Iterable[str], *variables: str) -> frozenset[str]:
    """Returns the users' pseudonyms under each key, whole and shortened as in exposure logs."""
    pseudonyms = (pseudonym(os.environ[name].encode(), user) for name in variables for user in users)
    return frozenset(text for whole in pseudonyms for text in (whole, whole[:EXPOSURE_DIGITS]))


def _list_files(folders: Iterable[Path]) -> list[Path]:
    """Returns every file once."""
    files = {path.resolve(): path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()}
    return list(files.values())


def _mark_models(folders: Sequence[Path], contains_user: dict[str, bool], erased: ErasedIds) -> Iterator[str]:
    """Marks runs and exported files; yields what each of them knew."""
    files = _list_files(folders)
    for config in (path for path in files if path.name == "config.yaml"):
        for checkpoint in mark_run(config.parent, contains_user):
            yield f"{checkpoint}: learned from them; marked as stale, train again"
    for path in (path for path in files if path.suffix == ".onnx"):
        state = mark_model_file(path, contains_user, erased)
        if state == "held":
            yield f"{path}: learned from them; their ids are removed, the old version is refused; train again"
        if state == "learned":
            yield f"{path}: learned from them, without their ids; marked as stale, served until you train again"


def _purge_folders(folders: Sequence[Path], erased: ErasedIds) -> Iterator[str]:
    """Purges tables, logs and stores, except the JSON files of runs, which name no user."""
    files = _list_files(folders)
    runs = {path.parent for path in files if path.name == "config.yaml"}
    for path in files:
        if path.suffix == ".json" and (path.parent in runs or path.name == "metadata.json"):
            continue
        try:
            removed = purge_file(path, erased)
        except (ValueError, OSError) as error:
            yield f"{path}: cannot be read ({error}); check it yourself"
            continue
        if removed:
            yield f"{path}: {removed:,} rows removed"


def _search_folders(folders: Sequence[Path], ids: Iterable[str], erased_users: Path) -> Iterator[str]:
    """Searches the bytes of all files for ids that are left."""
    files = [path for path in _list_files(folders) if path != erased_users]
    long_ids = [user_id for user_id in ids if len(user_id) > SHORT]
    matches = find_files_with_ids(files, long_ids)
    yield from (f"{path}: STILL CONTAINS an id; delete the file or remove the id yourself" for path in matches)
    exception = f", except ids of at most {SHORT} characters" if any(len(user_id) <= SHORT for user_id in ids) else ""
    count = f"{len(matches) or 'none'} of them still contain one"
    yield f"searched {len(files):,} files for ids and pseudonyms{exception}: {count}"
    yield "recsys does not change the source: delete them there too; backups keep them until they are overwritten"
    if matches:
        sys.exit(1)
