"""JSON to attrs classes, strictly: a value of another type is an error, never converted.

Hooks are compiled once per class. Each reads its keys, checks scalars in line, and calls hooks of other types; where a
value does not fit, `Mismatch` collects the path to it on its way up.
"""

import json
import math
import re
import types
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs

from prisma_mgmt.masks import Secret

if TYPE_CHECKING:
    from cattrs import Converter

try:
    import orjson
except ImportError:  # the `speed` extra is not installed
    _orjson: Any = None
else:
    _orjson = orjson

JSON: TypeAlias = Any
T = TypeVar("T")
Hook: TypeAlias = Callable[[Any, Any], Any]


class Unset(Enum):
    """The type of UNSET, which says that a value is left out; None is sent as null."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset.UNSET


class Mismatch(ValueError):  # noqa: N818  # never leaves the core
    """A value that does not fit; `path` is built from the inside out."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = ""

    def under(self, step: str) -> "Mismatch":
        dot = "." if self.path and not self.path.startswith("[") else ""
        self.path = f"{step}{dot}{self.path}"
        return self


def json_key(attribute: "attrs.Attribute[Any]") -> str:
    """The JSON key of a model's attribute: camelCase, or what its metadata says under `key`."""
    if "key" in attribute.metadata:
        return str(attribute.metadata["key"])
    head, *rest = attribute.name.rstrip("_").split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def parse(data: bytes) -> JSON:
    """The value of a JSON document; ValueError for anything else, NaN and Infinity included."""
    if _orjson:
        return _orjson.loads(data)
    found = json.loads(data.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    if b"\\u" in data and re.search(rb"\\u[dD][89a-fA-F]", data):  # surrogates, one of which may be alone
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number too large for a float")
    return value


def structure(value: JSON, model: type[T]) -> T:
    """`value` as a `model`; raises Mismatch, with the path of the field at fault."""
    kind: Any = model  # a type is hashable, whatever type checkers make of it
    fitted: T = hook_of(kind)(value, kind)
    return fitted


def wrong(wanted: str, value: Any) -> Mismatch:
    """That a value is not what is `wanted`, without the value."""
    names: dict[Any, str] = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return Mismatch(f"expected {wanted}, got {names.get(type(value), 'a number')}")


def _located(error: Exception, key: str) -> Mismatch:
    if isinstance(error, KeyError):
        error = Mismatch("missing")
    elif not isinstance(error, Mismatch):
        error = Mismatch("expected an ISO 8601 date and time")  # what fromisoformat says quotes the value
    return error.under(key)


def _number(value: Any, _: Any) -> float:
    if value.__class__ is not float and value.__class__ is not int:
        raise wrong("a number", value)
    return value  # as it is: an int counts as a float (PEP 484)


def _secret(value: Any, _: Any) -> Secret:
    if value.__class__ is not str:
        raise wrong("a string", value)
    return Secret(value)


def _datetime(value: Any, _: Any) -> datetime:
    if value.__class__ is not str:
        raise wrong("a date and time", value)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise Mismatch("expected an ISO 8601 date and time") from None


def _as_it_is(value: Any, _: Any) -> Any:
    return value


def _scalar(kind: type, wanted: str) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not kind:
            raise wrong(wanted, value)
        return value

    return hook


def _list_hook(kind: Any) -> Hook:
    (item,) = get_args(kind)
    each: Hook = hook_of(item)

    def hook(value: Any, _: Any) -> list[Any]:
        if value.__class__ is not list:
            raise wrong("an array", value)
        done: list[Any] = []
        try:
            for one in value:
                done.append(each(one, item))  # noqa: PERF401  # its length is the index of a misfit
        except Mismatch as mismatch:
            raise mismatch.under(f"[{len(done)}]") from None
        return done

    return hook


def _dict_hook(kind: Any) -> Hook:
    _, item = get_args(kind)
    each: Hook = hook_of(item)

    def hook(value: Any, _: Any) -> dict[str, Any]:
        if value.__class__ is not dict:
            raise wrong("an object", value)
        done: dict[str, Any] = {}
        for key, one in value.items():
            try:
                done[key] = each(one, item)
            except Mismatch as mismatch:
                raise mismatch.under(key) from None
        return done

    return hook


def _simple(kind: Any) -> Any:
    """`kind` without None and UNSET; constants and open enums are plain strings."""
    if get_origin(kind) is Literal:
        return str
    if not _is_union(kind):
        return kind
    members = {_simple(member): None for member in get_args(kind) if member not in (type(None), Unset)}
    return next(iter(members)) if len(members) == 1 else kind


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _union_hook(kind: Any) -> Hook:
    """The hook of `X | None`, and of models told apart by their `type`, where an unknown one stays a dict."""
    simple = _simple(kind)
    inner = _tagged_hook(simple) if _is_union(simple) else hook_of(simple)
    if type(None) not in get_args(kind):
        return lambda value, _: inner(value, simple)
    return lambda value, _: None if value is None else inner(value, simple)


def _tagged_hook(union: Any) -> Hook:
    hooks: dict[Any, tuple[Hook, type]] = {
        attrs.fields_dict(model)["type"].default: (hook_of(model), model)
        for model in get_args(union)
        if attrs.has(model)
    }

    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not dict:
            raise wrong("an object", value)
        tag = value.get("type")
        if tag.__class__ is not str or tag not in hooks:
            return value  # a member that this version does not know
        each, model = hooks[tag]
        return each(value, model)

    return hook


# What is checked in line: the class that JSON gives it, and its name in an error.
_INLINE: dict[Any, tuple[str, str]] = {
    str: ("str", "a string"),
    int: ("int", "a whole number"),
    bool: ("bool", "a boolean"),
    Secret: ("str", "a string"),
    datetime: ("str", "a date and time"),
}
_CONVERTED: dict[Any, tuple[str]] = {Secret: ("Secret",), datetime: ("fromisoformat",)}


def _model_hook(model: type) -> Hook:
    """Compile the hook of one attrs class."""
    scope: dict[str, Any] = {
        "model": model,
        "new": object.__new__,
        "wrong": wrong,
        "located": _located,
        "UNSET": UNSET,
    }
    scope |= {"fromisoformat": datetime.fromisoformat, "Secret": Secret}
    lines = ["def hook(o, _):", "  if o.__class__ is not dict: raise wrong('an object', o)"]
    lines.append("  m = new(model)")  # a model has no validators, and setting its slots here saves a call an object
    for i, attribute in enumerate(attrs.fields(model)):
        key = json_key(attribute)
        scope[f"d{i}"] = attribute.default
        read = f"o[{key!r}]" if attribute.default is attrs.NOTHING else f"o.get({key!r}, d{i})"
        lines += ["  try:", f"    m.{attribute.name} = v = {read}"]
        lines += [f"    {line}" for line in _check(i, attribute, scope)]
        lines += [f"  except (KeyError, ValueError) as error: raise located(error, {key!r}) from None"]
    lines.append("  return m")
    exec("\n".join(lines), scope)  # noqa: S102  # as attrs does; the names come from our own models
    hook: Hook = scope["hook"]
    return hook


def _check(i: int, attribute: "attrs.Attribute[Any]", scope: dict[str, Any]) -> list[str]:
    """The statements that check and convert a field's value, `v`."""
    kind, name = _simple(attribute.type), attribute.name
    if kind in (Any, object):
        return []
    guard = "v is not None and " if type(None) in get_args(attribute.type) else ""
    guard += "v is not UNSET and " if attribute.default is UNSET else ""
    if kind in _INLINE:
        kind_name, wanted = _INLINE[kind]
        lines = [f"if {guard}v.__class__ is not {kind_name}: raise wrong({wanted!r}, v)"]
        return lines + [f"if {guard}True: m.{name} = {convert}(v)" for convert in _CONVERTED.get(kind, ())]
    scope[f"h{i}"], scope[f"t{i}"] = hook_of(kind), kind
    return [f"if {guard}True: m.{name} = h{i}(v, t{i})"]


def _originates(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


@cache
def _converter() -> "Converter":
    """The registry of hooks, made when it is first needed: cattrs takes a while to import."""
    from cattrs import Converter

    made = Converter()
    made.register_structure_hook_func(lambda kind: kind in (Any, object), _as_it_is)
    for kind in (str, int, bool):
        made.register_structure_hook(kind, _scalar(kind, _INLINE[kind][1]))
    made.register_structure_hook(float, _number)
    made.register_structure_hook(Secret, _secret)
    made.register_structure_hook(datetime, _datetime)
    made.register_structure_hook_func(_originates(Literal), _scalar(str, "a string"))
    made.register_structure_hook_factory(_originates(list), _list_hook)
    made.register_structure_hook_factory(_originates(dict), _dict_hook)
    made.register_structure_hook_factory(_is_union, _union_hook)
    made.register_structure_hook_factory(attrs.has, _model_hook)
    return made


@cache
def hook_of(kind: Any) -> Hook:
    """What structures a type."""
    hook: Hook = _converter().get_structure_hook(kind)
    return hook
