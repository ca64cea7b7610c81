"""Checks whether a value from YAML has the type that a parameter's annotation expects."""

import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
"""types of YAML, in the words of error messages"""


@dataclass(frozen=True)
class AtLeast:
    """In an annotation: the smallest valid number."""

    minimum: int


Natural = Annotated[int, AtLeast(0)]
Positive = Annotated[int, AtLeast(1)]


def type_mismatch(value: Any, annotation: Any) -> str | None:
    """The type expected instead of `value`, in words; None if it fits or if the annotation does not restrict YAML."""
    members = list(_members(annotation))
    if any(not isinstance(member, type) or member in (object, Any) for member in members):
        return None  # Any, type variables, shapes: the class itself must check
    if any(_fits(value, member) for member in members):
        return _too_small(value, annotation)
    words = [TYPE_NAMES.get(member) or _container(member) for member in members]
    return " or ".join(dict.fromkeys(word for word in words if word)) or "something else"


def _members(annotation: Any) -> Iterator[Any]:
    """The types that a union allows: list for list[int], the types of its values for a Literal."""
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
    members = (annotation, *get_args(annotation))
    constraints = [constraint for member in members for constraint in getattr(member, "__metadata__", ())]
    minimum = max((limit.minimum for limit in constraints if isinstance(limit, AtLeast)), default=None)
    if minimum is None or not isinstance(value, int) or value >= minimum:
        return None
    return f"{TYPE_NAMES[int]} ≥ {minimum}"


def _fits(value: Any, expected: type) -> bool:
    if isinstance(value, dict):
        return expected not in TYPE_NAMES and _container(expected) != "a list"  # a mapping, or an object to build
    if isinstance(value, list):
        return _container(expected) == "a list"
    if isinstance(value, bool):
        return expected is bool
    if expected is float:
        return isinstance(value, int | float)
    return expected in TYPE_NAMES and isinstance(value, expected)


def _container(expected: type) -> str | None:
    """The name of a collection that YAML has; None for other types, such as tensors."""
    is_builtin = expected.__module__ in ("builtins", "collections.abc")
    if not is_builtin or expected is str or not issubclass(expected, Collection):
        return None
    return "a mapping" if issubclass(expected, Mapping) else "a list"
