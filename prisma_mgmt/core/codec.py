"""JSON to attrs classes, strictly: a value of another type is an error, never converted.

A hook reads one type. The hook of a model is compiled: it reads what is usual, those models in it included, in one
function without calls. Whatever it stumbles over is read again by the plain hook, which says what is allowed and names
what is wrong; `Mismatch` collects the path to it on its way up.
"""

import json
import math
import re
import types
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache, partial
from itertools import accumulate
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs

from prisma_mgmt.masks import Secret

try:
    import orjson
except ImportError:  # the `speed` extra is not installed
    _orjson: Any = None
else:
    _orjson = orjson

JSON: TypeAlias = Any
T = TypeVar("T")
Hook: TypeAlias = Callable[..., Any]

_BOM = b"\xef\xbb\xbf"
_DEEPEST = 1024  # levels of a document; orjson reads no more
_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_LONG = b"0" * 19  # digits, past which orjson makes a float of a whole number


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


def fields(model: type) -> "tuple[attrs.Attribute[Any], ...]":
    """The attributes of a model, their types resolved."""
    found: tuple[attrs.Attribute[Any], ...] = attrs.fields(model)
    if any(isinstance(one.type, str) for one in found):  # under `from __future__ import annotations`
        found = attrs.fields(attrs.resolve_types(model))
    return found


def parse(data: bytes, exact: bool = True) -> JSON:
    """The value of a JSON document; ValueError for anything else, NaN and Infinity included.

    With `exact=False` a whole number past 64 bits may become a float, which spares a look at every byte.
    """
    if data.__class__ is not bytes:  # orjson takes no subclass
        data = bytes(data)
    if _orjson and not (exact and is_long(data)):
        return _orjson.loads(data.removeprefix(_BOM))
    data = data.removeprefix(_BOM)
    _check_depth(data)
    found = json.loads(data.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    if b"\\u" in data and re.search(rb"\\u[dD][89a-fA-F]", data):  # surrogates, one of which may be alone
        json.dumps(found, ensure_ascii=False).encode()
    return found


def is_long(data: bytes) -> bool:
    """If a document may hold a whole number that orjson makes a float of."""
    return _orjson is not None and _LONG in data.translate(_DIGITS)


def decode(data: bytes, model: type[T], unwrapped: Callable[[JSON], JSON] | None = None) -> T:
    """A document as a `model`, out of the envelope that `unwrapped` takes off.

    Raises Mismatch for a document that does not fit, and ValueError or RecursionError for one that is no JSON.
    """
    kind: Any = model
    hook, exact = _reader(kind)
    try:
        value = parse(data, exact)
        fitted: T = hook(value if unwrapped is None else unwrapped(value))
    except Mismatch:
        if exact or not is_long(data):
            raise
        value = parse(data)
        fitted = hook(value if unwrapped is None else unwrapped(value))
    return fitted


@cache
def _reader(kind: Any) -> tuple[Hook, bool]:
    return hook_of(kind), is_free(kind)


def _check_depth(data: bytes) -> None:
    """ValueError for more levels than orjson reads, however many the standard library would."""
    if data.count(b"[") + data.count(b"{") <= _DEEPEST:
        return
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", data, flags=re.DOTALL)
    steps = (1 if one in b"[{" else -1 for one in re.findall(rb"[\[\]{}]", bare))
    if max(accumulate(steps)) > _DEEPEST:
        raise ValueError("nested too deeply")


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
    fitted: T = hook_of(kind)(value)
    return fitted


def wrong(wanted: str, value: Any) -> Mismatch:
    """That a value is not what is `wanted`, without the value."""
    names: dict[Any, str] = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "null",
    }
    return Mismatch(f"expected {wanted}, got {names.get(type(value), type(value).__name__)}")


@cache
def hook_of(kind: Any) -> Hook:
    """What reads a type, given the value."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin = get_origin(kind)
    if origin is Literal:
        return _SCALARS[str]
    if origin is list:
        return _list_hook(*get_args(kind))
    if origin is dict:
        return _dict_hook(get_args(kind)[1])
    if is_union(kind):
        return _union_hook(kind)
    if attrs.has(kind):
        return compiled(kind)
    raise TypeError(f"{kind!r} is no type that a model's field may have")


# Every hook takes a second argument and ignores it: hooks of lists and of models are called alike.


def _as_it_is(value: Any, _: Any = None) -> Any:
    return value


def _scalar(kind: type, wanted: str) -> Hook:
    def hook(value: Any, _: Any = None) -> Any:
        if value.__class__ is not kind:
            raise wrong(wanted, value)
        return value

    return hook


def _number(value: Any, _: Any = None) -> float:
    if value.__class__ is not float and value.__class__ is not int:
        raise wrong("a number", value)
    return value  # as it is: an int counts as a float (PEP 484)


def _secret(value: Any, _: Any = None) -> Secret:
    if value.__class__ is not str and value.__class__ is not Secret:
        raise wrong("a string", value)
    return Secret(value)


_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:)([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


def _datetime(value: Any, _: Any = None) -> datetime:
    """A date and time; one without a zone is in UTC, and a leap second is the second after it."""
    if value.__class__ is not str:
        raise wrong("a date and time", value)
    found = _RFC_3339.fullmatch(value)
    try:
        if found is None:
            raise ValueError
        day, minutes, seconds, fraction, zone = found.groups("")
        leap = seconds == "60"
        text = f"{day}T{minutes}{59 if leap else seconds}{fraction[:7]}{zone.upper() or 'Z'}"
        return datetime.fromisoformat(text) + timedelta(seconds=leap)
    except (ValueError, OverflowError):  # which quote the value
        raise Mismatch("expected an ISO 8601 date and time") from None


_SCALARS: dict[Any, Hook] = {
    Any: _as_it_is,
    object: _as_it_is,
    str: _scalar(str, "a string"),
    int: _scalar(int, "a whole number"),
    bool: _scalar(bool, "a boolean"),
    float: _number,
    Secret: _secret,
    datetime: _datetime,
}


def _list_hook(item: Any) -> Hook:
    def hook(value: Any, _: Any = None) -> list[Any]:
        if value.__class__ is not list:
            raise wrong("an array", value)
        each = hook_of(item)
        done: list[Any] = []
        try:
            for one in value:
                done.append(each(one))  # noqa: PERF401  # its length is the index of a misfit
        except Mismatch as mismatch:
            raise mismatch.under(f"[{len(done)}]") from None
        return done

    return hook


def _dict_hook(item: Any) -> Hook:
    def hook(value: Any, _: Any = None) -> dict[str, Any]:
        if value.__class__ is not dict:
            raise wrong("an object", value)
        each = hook_of(item)
        done: dict[str, Any] = {}
        for key, one in value.items():
            try:
                done[key] = each(one)
            except Mismatch as mismatch:
                raise mismatch.under(key) from None
        return done

    return hook


def is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def simple(kind: Any) -> Any:
    """`kind` without None and UNSET; constants and open enums are plain strings."""
    if get_origin(kind) is Literal:
        return str
    if not is_union(kind):
        return kind
    members = {simple(member): None for member in get_args(kind) if member not in (type(None), Unset)}
    return next(iter(members)) if len(members) == 1 else kind


def is_nullable(kind: Any) -> bool:
    return kind is type(None) or (is_union(kind) and type(None) in get_args(kind))


def _union_hook(kind: Any) -> Hook:
    """The hook of `X | None`, and of models told apart by their `type`, where an unknown one stays a dict."""
    bare = simple(kind)
    inner = _tagged_hook(bare) if is_union(bare) else hook_of(bare)
    if not is_nullable(kind):
        return inner
    return lambda value, _=None: None if value is None else inner(value)


def _tagged_hook(union: Any) -> Hook:
    models = {attrs.fields_dict(one)["type"].default: one for one in get_args(union) if attrs.has(one)}

    def hook(value: Any, _: Any = None) -> Any:
        if value.__class__ is not dict:
            raise wrong("an object", value)
        tag = value.get("type")
        if tag.__class__ is not str or tag not in models:
            return value  # a member that this version does not know
        return hook_of(models[tag])(value)

    return hook


@cache
def is_free(kind: Any) -> bool:
    """If a type holds numbers of any size: free JSON, or a float that may come as a whole number."""
    if kind in (Any, object, float):
        return True
    parts = [one.type for one in fields(kind)] if attrs.has(kind) else get_args(kind)
    return get_origin(kind) is not Literal and any(one is not kind and is_free(one) for one in parts)


def _default(attribute: "attrs.Attribute[Any]") -> Any:
    """What stands for a field that is missing; NOTHING if it must not be. A field that may be null may be missing."""
    if attribute.default is attrs.NOTHING and is_nullable(attribute.type):
        return None
    return attribute.default


def plain(model: type) -> Hook:
    """The hook of a model, a field at a time: what this says counts."""
    steps = [(one.name, json_key(one), one.type, _default(one)) for one in fields(model)]

    def hook(value: Any, _: Any = None) -> Any:
        if value.__class__ is not dict:
            raise wrong("an object", value)
        made = object.__new__(model)  # a model has no validators, and setting its slots here saves a call an object
        for name, key, kind, default in steps:
            try:
                if key in value:
                    read = hook_of(kind)(value[key])
                elif default is attrs.NOTHING:
                    raise Mismatch("missing")
                else:
                    read = default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]  # a class at run time
            except Mismatch as mismatch:
                raise mismatch.under(key) from None
            object.__setattr__(made, name, read)
        return made

    return hook


def compiled(model: type) -> Hook:
    """The hook of a model as one function, for what is usual; the plain hook reads anything else."""
    source = _Source(model)
    source.read(model, "o", "m", ("    ", ()))
    lines = [
        "def hook(o, _=None, type=type, str=str):",
        "  try:",
        *source.lines,
        "    return m",
        "  except (KeyError, ValueError, TypeError, AttributeError): pass",
        "  return plain(o)",
    ]
    exec("\n".join(lines), source.scope)  # noqa: S102  # as attrs does; the names come from our own models
    hook: Hook = source.scope["hook"]
    return hook


# What is checked in line: what gives up on a value `v` that is not of this type.
_UNLIKE = {
    str: "type(v) is not str",
    int: "type(v) is not int",
    bool: "type(v) is not bool",
    float: "type(v) is not float and type(v) is not int",
}


class _Source:
    """The statements that read a model, and the names that they use."""

    def __init__(self, model: type) -> None:
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {"Secret": Secret, "parsed": datetime.fromisoformat}
        self.scope["plain"] = plain(model)

    def _name(self, value: Any) -> str:
        name = f"x{len(self.scope)}"
        self.scope[name] = value
        return name

    def read(self, model: type, given: str, made: str, place: tuple[str, tuple[type, ...]]) -> None:
        """Make `made`, a model, of what the name `given` holds."""
        indent, above = place
        if all(_default(attribute) is not attrs.NOTHING for attribute in fields(model)):
            self.lines.append(f"{indent}if type({given}) is not dict: return plain(o)")  # else a key would be missing
        self.lines.append(f"{indent}{made} = {self._name(partial(object.__new__, model))}()")
        for attribute in fields(model):
            self._field(attribute, given, f"{made}.{attribute.name}", (indent, (*above, model)))

    def _field(
        self, attribute: "attrs.Attribute[Any]", given: str, to: str, place: tuple[str, tuple[type, ...]]
    ) -> None:
        indent, above = place
        key, kind, default = json_key(attribute), simple(attribute.type), _default(attribute)
        empty = ["None"] if is_nullable(attribute.type) else []
        if default is attrs.NOTHING or isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class at run time
            value = f"{given}[{key!r}]"
        else:
            if default is not None:
                empty.append(self._name(default))
            value = f"{given}.get({key!r}{'' if default is None else f', {empty[-1]}'})"
        if kind in _UNLIKE:
            unlike = "".join(f" and v is not {one}" for one in empty)
            self.lines.append(f"{indent}{to} = v = {value}")
            self.lines.append(f"{indent}if {_UNLIKE[kind]}{unlike}: return plain(o)")
            return
        if kind in (Any, object):
            self.lines.append(f"{indent}{to} = {value}")
            return
        if not empty:
            self._convert(kind, value, to, place)
            return
        v = f"v{len(self.lines)}"
        self.lines.append(f"{indent}{v} = {value}")
        self.lines.append(f"{indent}if {' or '.join(f'{v} is {one}' for one in empty)}: {to} = {v}")
        self.lines.append(f"{indent}else:")
        self._convert(kind, v, to, (indent + "  ", above))

    def _convert(self, kind: Any, value: str, to: str, place: tuple[str, tuple[type, ...]]) -> None:
        indent, above = place
        if kind is Secret:
            self.lines.append(f"{indent}v = {value}")
            self.lines.append(f"{indent}if type(v) is not str: return plain(o)")
            self.lines.append(f"{indent}{to} = Secret(v)")
        elif kind is datetime:
            self.lines.append(f"{indent}{to} = v = parsed({value})")
            self.lines.append(f"{indent}if v.tzinfo is None: return plain(o)")
        elif attrs.has(kind) and kind not in above:
            made, given = f"m{len(self.lines)}", f"o{len(self.lines)}"
            self.lines.append(f"{indent}{given} = {value}")
            self.read(kind, given, made, place)
            self.lines.append(f"{indent}{to} = {made}")
        else:
            self.lines.append(f"{indent}{to} = {self._name(Late(kind))}({value})")


class Late:
    """A hook that is looked up when it is first called, since a type may hold itself."""

    __slots__ = ("_kind",)

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __call__(self, value: Any) -> Any:
        return hook_of(self._kind)(value)
