"""Whether a value from YAML is of the kind that a parameter's annotation asks for."""

import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

SPOKEN = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
"""what an annotation asks for, in words"""


@dataclass(frozen=True)
class AtLeast:
    """In an annotation: the least number that may stand there."""

    least: int


Natural = Annotated[int, AtLeast(0)]
Positive = Annotated[int, AtLeast(1)]


def type_mismatch(value: Any, annotation: Any) -> str | None:
    """What should stand in place of `value`, None where it fits or where the annotation tells nothing of YAML."""
    members = list(_members(annotation))
    if any(not isinstance(member, type) or member in (object, Any) for member in members):
        return None  # Any, type variables, shapes: the class itself must look
    if any(_fits(value, member) for member in members):
        return _too_small(value, annotation)
    words = [SPOKEN.get(member) or _container(member) for member in members]
    return " or ".join(dict.fromkeys(word for word in words if word)) or "something else"


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a union allows; of list[int] only list, of Literal the types of its values."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin is Literal:
        yield from {type(value) for value in get_args(annotation)}
    else:
        yield type(None) if annotation is None else origin or annotation


def _too_small(value: Any, annotation: Any) -> str | None:
    notes = [note for part in (annotation, *get_args(annotation)) for note in getattr(part, "__metadata__", ())]
    least = max((note.least for note in notes if isinstance(note, AtLeast)), default=None)
    if least is None or not isinstance(value, int) or value >= least:
        return None
    return f"{SPOKEN[int]} of at least {least}"


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, dict):
        return kind not in SPOKEN and _container(kind) != "a list"  # a mapping, or the object that a node describes
    if isinstance(value, list):
        return _container(kind) == "a list"
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else kind in SPOKEN and isinstance(value, kind)


def _container(kind: type) -> str | None:
    """The collections of YAML; what merely behaves like one, such as a tensor, never comes from there."""
    if kind.__module__ not in ("builtins", "collections.abc") or kind is str or not issubclass(kind, Collection):
        return None
    return "a mapping" if issubclass(kind, Mapping) else "a list"
