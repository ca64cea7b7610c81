"""Answers from an exported file with onnxruntime and NumPy alone: copy this one file beside the `.onnx`.

B users asked at once, L slots of the longest history.
"""

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
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


class Question(NamedTuple):
    """What one user asks, checked: everything but the allowed items."""

    history: list[str]
    deny: list[str]
    exclude_seen: bool
    k: int
    columns: dict[str, Any]
    """one value by the name of an input, or a list of one an event"""


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
        try:
            self._session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            name = "the file" if isinstance(source, bytes) else f"'{source}'"
            raise RequestError(f"{name} is no model that this runtime can read: {error}") from error
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
        if one:
            return self.answer([self.question(history, user, context, k, exclude_seen, deny)], allowed(allow))[0]
        n = len(history)
        flags = exclude_seen if _is_list(exclude_seen) else [exclude_seen] * n
        rows = [_rows(*both, n) for both in (("user", user), ("context", context), ("deny", deny))]
        columns = zip(history, rows[0], rows[1], [k] * n, _rows("exclude_seen", flags, n), rows[2], strict=True)
        return self.answer([self.question(*each) for each in columns], allowed(allow))

    def question(
        self,
        history: Sequence[Any] = (),
        user: Any = None,
        context: Any = None,
        k: int = 10,
        exclude_seen: bool | None = None,
        deny: Sequence[Any] | None = None,
    ) -> Question:
        """One user's question as `answer` takes it; RequestError for what `recommend` would not take."""
        own, given = _ids("history", history), self._given(user, context)
        exclude = self._manifest["exclude_seen"] if exclude_seen is None else exclude_seen
        if not _is_whole(k) or k < 1:
            raise RequestError(f"k={k!r} is no whole number from 1")
        if not isinstance(exclude, bool):
            raise RequestError(f"exclude_seen={exclude_seen!r} is neither true nor false")
        columns = {name: _cells(name, column, given, own) for name, column in self._columns.items()}
        k = min(int(k), self._manifest["n_items"])
        return Question(own, _ids("deny", [] if deny is None else deny), exclude, k, columns)

    def answer(self, questions: Sequence[Question], allow: Sequence[str] = ()) -> list[Recommendation]:
        """An answer to each question, all computed at once; `allow` is shared, and empty where all items may be."""
        items, scores, known, recognised = self._session.run(
            ["items", "scores", "known", "recognised"],
            {
                "history": _padded([question.history for question in questions]),
                "k": np.array([max(question.k for question in questions)]),
                "exclude_seen": np.array([question.exclude_seen for question in questions]),
                "deny": _padded([question.deny for question in questions]),
                "allow": _padded([allow])[0],
                **{name: _stacked(name, column, questions) for name, column in self._columns.items()},
            },
        )
        found = (scores != -np.inf).sum(axis=1).tolist()
        return [
            Recommendation(
                items[row, : min(found[row], question.k)].tolist(),
                scores[row, : min(found[row], question.k)].tolist(),
                int(known[row]),
                _unknown(question.history, recognised[row]),
            )
            for row, question in enumerate(questions)
        ]

    def self_test(self) -> None:
        """Ask the golden request; RuntimeError if the answer differs from the one in the manifest."""
        golden = self._manifest["golden"]
        found, wanted = self.recommend(**golden["request"]), golden["answer"]
        same = found.items == wanted["items"] and np.allclose(found.scores, wanted["scores"], 1e-3, 1e-4)
        if not same:
            raise RuntimeError(f"the golden request gives {found}, not {wanted}: this runtime computes otherwise")

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


def allowed(allow: Sequence[Any] | None) -> list[str]:
    """Allowed items as `answer` takes them; RequestError for none, which would leave nothing to recommend."""
    if allow is None:
        return []
    if len(allowed := _ids("allow", allow)) == 0:
        raise RequestError("allow is empty, so nothing could be recommended; use None to allow all items")
    return allowed


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple, np.ndarray))


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _ids(name: str, given: Any) -> list[str]:
    """Raw ids as text."""
    if not _is_list(given):
        raise RequestError(f"{name}={given!r:.80} is no list of raw ids")
    return [value if type(value) is str and value.isascii() else _id(name, value) for value in given]


def _id(name: str, value: Any) -> str:
    if not (isinstance(value, str) or _is_whole(value)):
        kind = type(value).__name__
        raise RequestError(f"{name} holds {value!r:.80}, a {kind}; raw ids are text or whole numbers")
    return _text(name, value)


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


def _unknown(history: list[str], recognised: np.ndarray) -> list[str]:
    known = recognised[: len(history)]
    return [] if known.all() else [item for item, ok in zip(history, known, strict=True) if not ok and item]


def _padded(rows: Sequence[Sequence[str]]) -> np.ndarray:
    found = np.full((len(rows), max(map(len, rows))), "", object)
    for row, values in enumerate(rows):
        found[row, : len(values)] = values
    return found


def _cells(name: str, column: Columns, given: Mapping[str, Any], history: list[str]) -> Any:
    """The value of a column for a question, or a list of one an event; those not given take their default."""
    default = given["timestamp"] if column["type"] == "int64" else column["default"]
    width = _width(column)
    read = partial(_several, width=width[0]) if width else READ[column["type"]]
    values = _aligned(name, given.get(name), history) if column["of"] == "event" else [given.get(name)]
    found = [read(name, default if value is None else value) for value in values]
    return found if column["of"] == "event" else found[0]


def _several(name: str, value: Any, width: int) -> list[str]:
    """The first values of a cell, filled up to the width of the column."""
    found = [_text(name, part) for part in (value if _is_list(value) else [value])][:width]
    return found + [""] * (width - len(found))


def _width(column: Columns) -> list[int]:
    """How many values a cell holds, where it is a list."""
    return [size for size in column["shape"][-1:] if isinstance(size, int)]


def _stacked(name: str, column: Columns, questions: Sequence[Question]) -> np.ndarray:
    """(B L) of a column of events, (B) of another one; with a last axis where a cell holds several values."""
    of_event = column["of"] == "event"
    slots = [max(len(question.history) for question in questions)] if of_event else []
    found: np.ndarray = np.full((len(questions), *slots, *_width(column)), *EMPTY[column["type"]])
    for row, question in enumerate(questions):
        cells = question.columns[name]
        if cells != []:
            found[(row, slice(len(cells))) if of_event else row] = cells
    return found


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
