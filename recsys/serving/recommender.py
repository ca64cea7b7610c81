"""Recommendations from an exported file with onnxruntime and NumPy alone: copy this one file next to the `.onnx`.

B requests in one call of the model, L events of the longest history.
"""

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import onnxruntime as ort

ColumnSpec = Mapping[str, Any]
"""an input as the manifest describes it"""
PADDING: dict[str, tuple[Any, type]] = {"int64": (0, np.int64), "double": (0.0, np.float64), "string": ("", np.object_)}


class RequestError(ValueError):
    """A request or file that cannot be used; the message gives the field, its value and the remedy."""


class Recommendation(NamedTuple):
    """The list for one user, best item first; shorter than k if fewer items remain."""

    items: list[str]
    scores: list[float]
    known: int
    """number of events whose item the file knows; 0: the list is the one for newcomers"""
    unknown: list[str]
    """raw ids of the history that the file does not know"""


class CheckedRequest(NamedTuple):
    """One user's validated request, without the allowed items, which a whole call of the model shares."""

    history: list[str]
    deny: list[str]
    exclude_seen: bool
    k: int
    columns: dict[str, Any]
    """by name of the input: one value, or a list with one value per event"""


class Recommender:
    """Recommends items from one exported file; any number of threads may share it.

    `threads` is the number of CPU threads that compute one call. Raises RequestError for a file that is missing or was
    not written by `recsys export`.
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
            raise RequestError(f"{name} is not a model that this runtime can read: {error}") from error
        text = self._session.get_modelmeta().custom_metadata_map.get("manifest")
        if text is None:
            raise RequestError("the file has no manifest: it was not written by `recsys export`")
        self._manifest: dict[str, Any] = json.loads(text)
        inputs = self._manifest["inputs"]
        self._columns = {name: column for name, column in inputs.items() if "of" in column}

    def describe(self) -> dict[str, Any]:
        """Return the manifest: inputs with their defaults, model, items, metrics, versions, licence, golden request."""
        manifest_copy: dict[str, Any] = json.loads(json.dumps(self._manifest))
        return manifest_copy

    def similar(self, item: str, k: int = 10) -> Recommendation:
        """Return the items recommended after this one item, without the item itself."""
        recommendation: Recommendation = self.recommend([item], k=k, exclude_seen=True)
        return recommendation

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
        """Return the best `k` items after a history (raw ids, oldest first): one Recommendation, or a list of them for
        a list of histories.

        `user` is a raw id or a mapping of the user's columns (with `id` if the file holds user ids). `context` maps the
        other inputs by name, such as `timestamp` and `history_timestamp`. `describe()["inputs"]` lists all inputs;
        those left out take their defaults. `exclude_seen` leaves out the history (None: as in training), `deny` leaves
        out more items, and `allow` leaves out all others (None: all items are allowed). For a list of histories,
        `user`, `context` and `deny` are lists too, or None; `exclude_seen` may be a list; `allow` is shared. Unknown
        ids are ignored and reported. Raises RequestError.
        """
        is_batch = _is_list(history) and len(history) > 0 and all(_is_list(row) for row in history)
        if not is_batch:
            return self.answer([self.question(history, user, context, k, exclude_seen, deny)], check_allow(allow))[0]
        n = len(history)
        flags = exclude_seen if _is_list(exclude_seen) else [exclude_seen] * n
        lists = {"user": user, "context": context, "deny": deny, "exclude_seen": flags}
        users, contexts, denied, flags = (_check_per_history(name, values, n) for name, values in lists.items())
        rows = zip(history, users, contexts, [k] * n, flags, denied, strict=True)
        return self.answer([self.question(*row) for row in rows], check_allow(allow))

    def question(
        self,
        history: Sequence[Any] = (),
        user: Any = None,
        context: Any = None,
        k: int = 10,
        exclude_seen: bool | None = None,
        deny: Sequence[Any] | None = None,
    ) -> CheckedRequest:
        """Return one user's request, validated for `answer`; raises RequestError where `recommend` would."""
        item_ids, values = _read_ids("history", history), self._collect_values(user, context)
        exclude = self._manifest["exclude_seen"] if exclude_seen is None else exclude_seen
        if not _is_integer(k) or k < 1:
            raise RequestError(f"k={k!r} is invalid: expected a whole number ≥ 1")
        if not isinstance(exclude, bool):
            raise RequestError(f"exclude_seen={exclude_seen!r} is invalid: expected true or false")
        columns = {name: _read_column(name, column, values, item_ids) for name, column in self._columns.items()}
        k = min(int(k), self._manifest["n_items"])
        return CheckedRequest(item_ids, _read_ids("deny", [] if deny is None else deny), exclude, k, columns)

    def answer(self, requests: Sequence[CheckedRequest], allow: Sequence[str] = ()) -> list[Recommendation]:
        """Return one recommendation per request, computed in one call; `allow` is shared, empty allows all items."""
        items, scores, known_counts, recognised = self._session.run(
            ["items", "scores", "known", "recognised"],
            {
                "history": _pad([request.history for request in requests]),
                "k": np.array([max(request.k for request in requests)]),
                "exclude_seen": np.array([request.exclude_seen for request in requests]),
                "deny": _pad([request.deny for request in requests]),
                "allow": _pad([allow])[0],
                **{name: _stack_column(name, column, requests) for name, column in self._columns.items()},
            },
        )
        lengths = (scores != -np.inf).sum(axis=1).tolist()
        return [
            Recommendation(
                items[row, : min(lengths[row], request.k)].tolist(),
                scores[row, : min(lengths[row], request.k)].tolist(),
                int(known_counts[row]),
                _list_unknown(request.history, recognised[row]),
            )
            for row, request in enumerate(requests)
        ]

    def self_test(self) -> None:
        """Run the golden request; raises RuntimeError if the result differs from the one in the manifest."""
        golden = self._manifest["golden"]
        actual, expected = self.recommend(**golden["request"]), golden["answer"]
        if actual.items != expected["items"] or not np.allclose(actual.scores, expected["scores"], 1e-3, 1e-4):
            raise RuntimeError(f"the golden request gives {actual}, expected {expected}: this runtime differs")

    def _collect_values(self, user: Any, context: Any) -> dict[str, Any]:
        """Return the values that a request gives, by name of the input; `timestamp` is now unless given."""
        user_values = user if isinstance(user, Mapping) else {} if user is None else {"id": user}
        user_values = {"user" if name == "id" else name: value for name, value in user_values.items()}
        context = {} if context is None else context
        if not isinstance(context, Mapping):
            raise RequestError(f"context={context!r} is not a mapping from input names to values")
        if "user" in user_values and "user" not in self._columns:
            raise RequestError("the file holds no user ids (users=false when it was exported); leave out the user's id")
        for name in (*user_values, *context):
            if name not in self._columns:
                names = ", ".join(self._columns) or "none"
                raise RequestError(f"'{name}' is not an input of the file; it takes: {names}")
        return {"timestamp": time.time(), **user_values, **{name: v for name, v in context.items() if v is not None}}


def check_allow(allow: Sequence[Any] | None) -> list[str]:
    """Return allowed items as `answer` takes them; raises RequestError for an empty list, which would allow nothing."""
    if allow is None:
        return []
    item_ids = _read_ids("allow", allow)
    if len(item_ids) == 0:
        raise RequestError("allow is empty, so nothing could be recommended; use None to allow all items")
    return item_ids


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple, np.ndarray))


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _read_ids(name: str, values: Any) -> list[str]:
    """Return raw ids as text."""
    if not _is_list(values):
        raise RequestError(f"{name}={values!r:.80} is not a list of raw ids")
    return [value if type(value) is str and value.isascii() else _read_id(name, value) for value in values]


def _read_id(name: str, value: Any) -> str:
    if not (isinstance(value, str) or _is_integer(value)):
        raise RequestError(f"{name} holds {value!r:.80}, a {type(value).__name__}; raw ids are text or whole numbers")
    return _read_text(name, value)


def _read_text(name: str, value: Any) -> str:
    if not isinstance(value, (str, bool, int, np.integer, np.bool_)):
        raise RequestError(f"{name} holds {value!r:.80}, a {type(value).__name__}; give it as text")
    text = str(value)
    if not text.isascii() and text.encode("utf-8", "replace").decode() != text:
        raise RequestError(f"{name} holds {value!r:.80}, which is not valid Unicode")
    return text


def _check_per_history(name: str, values: Any, n: int) -> list[Any]:
    """Return one value for each of the n histories; None stands for n times None."""
    if values is None:
        return [None] * n
    if not _is_list(values) or len(values) != n:
        raise RequestError(f"{name} must be a list of {n}, one for each history")
    return list(values)


def _list_unknown(history: list[str], recognised: np.ndarray) -> list[str]:
    flags = recognised[: len(history)]
    return [] if flags.all() else [item for item, flag in zip(history, flags, strict=True) if not flag and item]


def _pad(rows: Sequence[Sequence[str]]) -> np.ndarray:
    padded = np.full((len(rows), max(map(len, rows))), "", object)
    for row, values in enumerate(rows):
        padded[row, : len(values)] = values
    return padded


def _read_column(name: str, column: ColumnSpec, values: Mapping[str, Any], history: list[str]) -> Any:
    """Return a request's value of a column, or a list with one per event; missing ones take the column's default."""
    default = values["timestamp"] if column["type"] == "int64" else column["default"]
    width = _list_width(column)
    read = partial(_read_list, width=width[0]) if width else CELL_READERS[column["type"]]
    is_of_event = column["of"] == "event"
    cells = _check_per_event(name, values.get(name), history) if is_of_event else [values.get(name)]
    column_values = [read(name, default if cell is None else cell) for cell in cells]
    return column_values if is_of_event else column_values[0]


def _read_list(name: str, value: Any, width: int) -> list[str]:
    """Return the first `width` values of a cell, padded to that width."""
    texts = [_read_text(name, element) for element in (value if _is_list(value) else [value])][:width]
    return texts + [""] * (width - len(texts))


def _list_width(column: ColumnSpec) -> list[int]:
    """Return how many values a cell holds, as a list of one; empty for a column of single values."""
    return [size for size in column["shape"][-1:] if isinstance(size, int)]


def _stack_column(name: str, column: ColumnSpec, requests: Sequence[CheckedRequest]) -> np.ndarray:
    """Return (B L) for a column of events, else (B); with one more axis for a column of lists."""
    is_of_event = column["of"] == "event"
    slots = [max(len(request.history) for request in requests)] if is_of_event else []
    stacked: np.ndarray = np.full((len(requests), *slots, *_list_width(column)), *PADDING[column["type"]])
    for row, request in enumerate(requests):
        cells = request.columns[name]
        if cells != []:
            stacked[(row, slice(len(cells))) if is_of_event else row] = cells
    return stacked


def _check_per_event(name: str, values: Any, history: list[str]) -> Sequence[Any]:
    if values is None:
        return [None] * len(history)
    if not _is_list(values) or len(values) != len(history):
        raise RequestError(f"{name} must be a list as long as the history ({len(history)})")
    return values


def _read_seconds(name: str, value: Any) -> int:
    seconds = _read_number(name, value)
    if not abs(seconds) < 2**53:
        raise RequestError(f"{name} holds {value!r:.80}; give seconds since 1970")
    return int(seconds // 1)


def _read_number(name: str, value: Any) -> float:
    if value is None:
        return float("nan")
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        raise RequestError(f"{name} holds {value!r:.80}, a {type(value).__name__}; give a number")
    return float(value)


CELL_READERS = {"string": _read_text, "int64": _read_seconds, "double": _read_number}
