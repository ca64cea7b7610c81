"""Answers from an exported file with onnxruntime and NumPy alone: copy this one file beside the `.onnx`.

B users asked at once, L slots of the longest history.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import onnxruntime as ort

Columns = Mapping[str, Any]
EMPTY: dict[str, tuple[Any, type]] = {"int64": (0, np.int64), "double": (0.0, np.float64), "string": ("", np.object_)}


class RequestError(ValueError):
    """A question that cannot be asked: says which part of it, its value and what would do."""


class Recommendation(NamedTuple):
    """The answer for one user, best first; shorter than k where fewer items remain."""

    items: list[str]
    scores: list[float]
    known: int
    """events of the history that the file knows; 0: the list is that of a newcomer"""
    unknown: list[str]
    """raw ids of the history that it does not know"""


class Recommender:
    """Asks one file, from as many threads as one likes.

    `threads` is the number that computes one answer. Raises RequestError for a file that is none of ours.
    """

    def __init__(self, path: str | Path | bytes, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = path if isinstance(path, bytes) else str(path)
        if isinstance(source, str) and not Path(source).is_file():
            raise RequestError(f"there is no file '{source}'; export a run first")
        self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        text = self._session.get_modelmeta().custom_metadata_map.get("manifest")
        if text is None:
            raise RequestError("the file has no manifest: it was not written by `recsys export`")
        self._manifest: dict[str, Any] = json.loads(text)
        inputs = self._manifest["inputs"]
        self._columns = {name: column for name, column in inputs.items() if "of" in column}

    def describe(self) -> dict[str, Any]:
        """The manifest: inputs with their defaults, model, items, metrics, versions, licence, a golden request."""
        copied: dict[str, Any] = json.loads(json.dumps(self._manifest))
        return copied

    def similar(self, item: str, k: int = 10) -> Recommendation:
        """What is recommended after this one item, the item itself left out."""
        found: Recommendation = self.recommend([item], k=k, exclude_seen=True)
        return found

    def recommend(
        self,
        history: Sequence[Any] = (),
        user: Any = None,
        context: Any = None,
        k: int = 10,
        exclude_seen: Any = None,
        allow: Sequence[str] | None = None,
        deny: Any = None,
    ) -> Any:
        """The best `k` items after a history (raw ids, oldest first): one Recommendation, or for a list of
        histories a list of them.

        `user` is a raw id or a mapping of the user's columns (with `id`, where the file holds users), `context` a
        mapping of all other inputs by name, such as `timestamp` and `history_timestamp`; `describe()["inputs"]`
        lists them, and those left out take their defaults. `exclude_seen` (None: as the file was trained) leaves
        out the history, `deny` more items, `allow` all but some (None: all are allowed). For a list of histories
        `user`, `context` and `deny` are lists too, or None; `exclude_seen` may be one; `allow` is shared.
        Unknown ids are left out and reported. Raises RequestError.
        """
        one = not (_is_list(history) and len(history) > 0 and all(_is_list(row) for row in history))
        histories = [_ids("history", row) for row in ([history] if one else history)]
        n = len(histories)
        users, contexts, denied = (
            [given] if one else _rows(name, given, n)
            for name, given in (("user", user), ("context", context), ("deny", deny))
        )
        rows = [self._given(*both) for both in zip(users, contexts, strict=True)]
        feeds = {
            "history": _padded(histories),
            "k": np.array([self._size(k)], np.int64),
            "exclude_seen": self._flags(exclude_seen, n),
            "deny": _padded([_ids("deny", [] if row is None else row) for row in denied]),
            "allow": _padded([self._allowed(allow)])[0],
            **{name: _column(name, column, rows, histories) for name, column in self._columns.items()},
        }
        answers = self._answers(feeds, histories)
        return answers[0] if one else answers

    def self_test(self) -> None:
        """Ask the golden request; RuntimeError if the answer differs from the one in the manifest."""
        golden = self._manifest["golden"]
        found, wanted = self.recommend(**golden["request"]), golden["answer"]
        same = found.items == wanted["items"] and np.allclose(found.scores, wanted["scores"], 1e-3, 1e-4)
        if not same:
            raise RuntimeError(f"the golden request gives {found}, not {wanted}: this runtime computes otherwise")

    def _answers(self, feeds: dict[str, np.ndarray], histories: list[list[str]]) -> list[Recommendation]:
        names = ["items", "scores", "known", "recognised"]
        items, scores, known, recognised = self._session.run(names, feeds)
        found = (scores != -np.inf).sum(axis=1)
        return [
            Recommendation(
                items[row, : found[row]].tolist(),
                scores[row, : found[row]].tolist(),
                int(known[row]),
                [item for item, ok in zip(ids, recognised[row], strict=False) if not ok and item],
            )
            for row, ids in enumerate(histories)
        ]

    def _size(self, k: int) -> int:
        if not _is_whole(k) or k < 1:
            raise RequestError(f"k={k!r} is no whole number from 1")
        return min(int(k), self._manifest["n_items"])

    def _flags(self, given: Any, n: int) -> np.ndarray:
        value = self._manifest["exclude_seen"] if given is None else given
        flags = [value] * n if isinstance(value, bool) else list(value) if _is_list(value) else None
        if flags is None or len(flags) != n or not all(isinstance(flag, bool) for flag in flags):
            raise RequestError(f"exclude_seen={given!r} is neither true, false nor a list of {n} of them")
        return np.array(flags, bool)

    def _allowed(self, allow: Sequence[str] | None) -> list[str]:
        if allow is None:
            return []
        if len(allowed := _ids("allow", allow)) == 0:
            raise RequestError("allow is empty, so nothing could be recommended; use None to allow all items")
        return allowed

    def _given(self, user: Any, context: Any) -> dict[str, Any]:
        """The columns that one user's question names, and its time."""
        person = user if isinstance(user, Mapping) else {} if user is None else {"id": user}
        person = {"user" if name == "id" else name: value for name, value in person.items()}
        context = {} if context is None else context
        if not isinstance(context, Mapping):
            raise RequestError(f"context={context!r} is no mapping of input names to values")
        if "user" in person and "user" not in self._columns:
            raise RequestError("the file holds no user ids (users=false when it was exported); leave out the user's id")
        for name in (*person, *context):
            if name not in self._columns:
                raise RequestError(f"'{name}' is no input of the file; it takes: {', '.join(self._columns) or 'none'}")
        return {"timestamp": time.time(), **person, **{name: v for name, v in context.items() if v is not None}}


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple, np.ndarray))


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _ids(name: str, given: Any) -> list[str]:
    """Raw ids as text."""
    if not _is_list(given):
        raise RequestError(f"{name}={given!r:.80} is no list of raw ids")
    for value in given:
        if not (isinstance(value, str) or _is_whole(value)):
            kind = type(value).__name__
            raise RequestError(f"{name} holds {value!r:.80}, a {kind}; raw ids are text or whole numbers")
    return [_text(name, value) for value in given]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, (str, bool, int, np.integer, np.bool_)):
        raise RequestError(f"{name} holds {value!r:.80}, a {type(value).__name__}; give it as text")
    text = str(value)
    if not text.isascii() and text.encode("utf-8", "replace").decode() != text:
        raise RequestError(f"{name} holds {value!r:.80}, which is no valid Unicode")
    return text


def _rows(name: str, given: Any, n: int) -> list[Any]:
    """One value a user."""
    if given is None:
        return [None] * n
    if not _is_list(given) or len(given) != n:
        raise RequestError(f"{name} must be a list of {n}, one for each history")
    return list(given)


def _padded(rows: list[list[str]]) -> np.ndarray:
    found = np.full((len(rows), max(map(len, rows))), "", object)
    for row, values in enumerate(rows):
        found[row, : len(values)] = values
    return found


def _column(name: str, column: Columns, rows: list[dict[str, Any]], histories: list[list[str]]) -> np.ndarray:
    """(B L) of a column of events, (B) of another one; with a last axis where a cell holds several values."""
    of_event = column["of"] == "event"
    width = [column["shape"][-1]] if isinstance(column["shape"][-1], int) else []
    longest = max(map(len, histories)) if of_event else 1
    found: np.ndarray = np.full((len(rows), longest, *width), *EMPTY[column["type"]])
    for row, (given, history) in enumerate(zip(rows, histories, strict=True)):
        default = given["timestamp"] if column["type"] == "int64" else column["default"]
        cells = _aligned(name, given.get(name), history) if of_event else [given.get(name)]
        for place, cell in enumerate(cells):
            value = default if cell is None else cell
            if width:
                several = [_text(name, part) for part in (value if _is_list(value) else [value])][: width[0]]
                found[row, place, : len(several)] = several
            else:
                found[row, place] = READ[column["type"]](name, value)
    return found if of_event else found[:, 0]


def _aligned(name: str, given: Any, history: list[str]) -> Sequence[Any]:
    """One value an event."""
    if given is None:
        return [None] * len(history)
    if not _is_list(given) or len(given) != len(history):
        raise RequestError(f"{name} must be a list as long as the history, {len(history)}")
    return given


def _seconds(name: str, value: Any) -> int:
    seconds = _number(name, value)
    if not abs(seconds) < 2**53:
        raise RequestError(f"{name} holds {value!r:.80}; give seconds since 1970")
    return int(seconds // 1)


def _number(name: str, value: Any) -> float:
    if value is None:
        return float("nan")
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        raise RequestError(f"{name} holds {value!r:.80}, a {type(value).__name__}; give a number")
    return float(value)


READ = {"string": _text, "int64": _seconds, "double": _number}
