"""What codec.py and encoding.py both ask of a model: its fields, types and JSON keys; UNSET; open enumerations."""

import types
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, cast, get_args, get_origin

import attrs

JSON: TypeAlias = Any
F = TypeVar("F", bound=Callable[..., Any])


def cached(function: F) -> F:
    """functools.cache for a function of types: they can be hashed, whatever type checkers make of them."""
    return cast("F", cache(function))


class Unset(Enum):
    """The type of UNSET, which says that a value is left out; None is sent as null."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> Literal[False]:
        return False


UNSET: Final = Unset.UNSET


def json_key(attribute: "attrs.Attribute[Any]") -> str:
    """The JSON key of a model's attribute: camelCase, or what its metadata says under `key`."""
    if "key" in attribute.metadata:
        return str(attribute.metadata["key"])
    head, *rest = attribute.name.rstrip("_").split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def fields(model: type) -> "tuple[attrs.Attribute[Any], ...]":
    """The attributes of a model, their types resolved."""
    found: tuple[attrs.Attribute[Any], ...] = attrs.fields(model)
    if any(isinstance(one.type, str) for one in found):  # under `from __future__ import annotations`
        found = attrs.fields(attrs.resolve_types(model))
    return found


def default_of(attribute: "attrs.Attribute[Any]") -> Any:
    """What stands for a field that is missing; NOTHING if it must not be. A field that may be null may be missing."""
    if attribute.default is attrs.NOTHING and is_nullable(attribute.type):
        return None
    return attribute.default


def is_made(default: Any) -> bool:
    """If a default is a factory."""
    return isinstance(default, type(attrs.Factory(str)))


def is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def is_nullable(kind: Any) -> bool:
    return kind is type(None) or (is_union(kind) and type(None) in get_args(kind))


def simple(kind: Any) -> Any:
    """`kind` without None and UNSET; constants and open enums are plain strings."""
    if get_origin(kind) is Literal:
        return str
    if not is_union(kind):
        return kind
    members = {simple(member): None for member in get_args(kind) if member not in (type(None), Unset)}
    return next(iter(members)) if len(members) == 1 else kind
