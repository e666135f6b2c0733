"""Reading JSON into attrs classes, strictly: a value of another type is an error, never converted.

A hook reads one type. The hook of a model is compiled: it reads what is usual, those models in it included, in one
function without calls. `Mismatch` collects the path to what is wrong on its way up.
"""

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import attrs

from prisma_mgmt.core.compiling import Hook, compiled
from prisma_mgmt.core.kinds import JSON, cached, fields, is_nullable, is_union, simple
from prisma_mgmt.masks import Secret

try:
    import orjson
except ImportError:  # the `speed` extra is not installed
    _orjson: Any = None
else:
    _orjson = orjson

T = TypeVar("T")

BOM = b"\xef\xbb\xbf"
_DEEPEST = 1024  # levels of a document; orjson reads no more
_DIGITS = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))
_LONG = b"0" * 19  # digits, past which orjson makes a float of a whole number


class Mismatch(ValueError):  # noqa: N818  # never leaves the core
    """A value that does not fit; `path` is built from the inside out."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: str = ""

    def under(self, step: str) -> "Mismatch":
        dot = "." if step and self.path and not self.path.startswith("[") else ""
        self.path = f"{step}{dot}{self.path}"
        return self


class NoJSON(Mismatch):
    """A document that is no JSON, of which nothing is quoted."""


def parse(data: bytes) -> JSON:
    """The value of a JSON document; NoJSON for anything else, NaN and Infinity included."""
    try:
        plain = bytes(data).removeprefix(BOM)  # orjson takes no subclass
        return _orjson.loads(plain) if _orjson and not is_long(plain) else _exact(plain)
    except (ValueError, RecursionError):  # which hold the whole document
        pass
    raise NoJSON(f"expected JSON, got {len(data)} bytes")


def is_long(data: bytes) -> bool:
    """If a document may hold a whole number that orjson makes a float of."""
    return _LONG in data.translate(_DIGITS)


def decode(data: bytes, kind: type[T], unwrapped: Callable[[JSON], JSON] | None = None) -> T:
    """A document as a `kind`, out of the envelope that `unwrapped` takes off; Mismatch for one that does not fit.

    Unless its type is free, orjson reads first. What that stumbles over (a byte order mark, a whole number past 64
    bits, which it makes a float of) is read again by `parse`, which has the last word.
    """
    hook, free = _reader_of(kind)
    if not free and _orjson is not None:
        try:
            value = _orjson.loads(data)
            return hook(value if unwrapped is None else unwrapped(value))
        except ValueError:  # a Mismatch is one
            pass
    value = parse(data)
    return hook(value if unwrapped is None else unwrapped(value))


@cached
def _reader_of(kind: type[T]) -> tuple[Callable[[JSON], T], bool]:
    """The hook of a type, for a value that nobody else has, and if the type is free."""
    in_place = get_origin(kind) is list
    return _list_hook(get_args(kind)[0], in_place=True) if in_place else hook_of(kind), is_free(kind)


def _exact(data: bytes) -> JSON:
    """What orjson would make of a document, by the standard library, with whole numbers of any size."""
    _check_depth(data)
    found = json.loads(data.decode(), parse_constant=_finite, parse_float=_finite)
    if b"\\u" in data and re.search(rb"\\u[dD][89a-fA-F]", data):  # surrogates, one of which may be alone
        json.dumps(found, ensure_ascii=False).encode()
    return found


def _check_depth(data: bytes) -> None:
    """ValueError for more levels than orjson reads, however many the standard library would."""
    if data.count(b"[") + data.count(b"{") <= _DEEPEST:
        return
    # It keeps no way back (`*+`), and takes a text without an end for one: either would cost time and memory.
    bare = re.sub(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', b"", data, flags=re.DOTALL)
    steps = (1 if one in b"[{" else -1 for one in re.findall(rb"[\[\]{}]", bare))
    if max(accumulate(steps), default=0) > _DEEPEST:
        raise ValueError("nested too deeply")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number that JSON does not have, or that is too large for a float")
    return value


def structure(value: JSON, model: type[T]) -> T:
    """`value` as a `model`; raises Mismatch, with the path of the field at fault."""
    return cast("T", hook_of(model)(value))


def structure_record(value: JSON, usual: type[T], other: type[T]) -> T | dict[str, JSON]:
    """`value` as the model that its `type` says; as the `usual` one if it has no type, a dict if that is unknown."""
    if value.__class__ is dict and "type" not in value:
        return structure(value, usual)
    return cast("T | dict[str, JSON]", hook_of(usual | other)(value))


_CALLED = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def wrong(wanted: str, value: Any) -> Mismatch:
    """That a value is not what is `wanted`, without the value."""
    kind: Any = value.__class__
    called = "a number" if kind in (int, float) else _CALLED.get(kind, kind.__name__)
    return Mismatch(f"expected {wanted}, got {called}")


@cached
def hook_of(kind: Any) -> Hook:
    """What reads a type, given the value."""
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin = get_origin(kind)
    if origin is Literal:
        return _SCALARS[str]
    if origin is list:
        return _list_hook(get_args(kind)[0])
    if origin is dict:
        return _dict_hook(get_args(kind)[1])
    if is_union(kind):
        return _union_hook(kind)
    if attrs.has(kind):
        return compiled(kind, {"hook_of": hook_of, "wrong": wrong, "Mismatch": Mismatch})
    raise TypeError(f"{kind!r} is no type that a model's field may have")


def _as_it_is(value: Any) -> Any:
    return value


def _scalar(wanted: str, *kinds: type) -> Hook:
    def hook(value: Any) -> Any:
        if value.__class__ not in kinds:
            raise wrong(wanted, value)
        return value

    return hook


def _secret(value: Any) -> Secret:
    if value.__class__ is not str and value.__class__ is not Secret:
        raise wrong("a string", value)
    return Secret(value)


def _datetime(value: Any) -> datetime:
    """A date and time; one without a zone is in UTC, and a leap second is the second after it."""
    if value.__class__ is not str:
        raise wrong("a date and time", value)
    text = value.upper()
    leap = text[16:19] == ":60"
    with suppress(ValueError, OverflowError):  # which quote the value
        made = datetime.fromisoformat(f"{text[:17]}59{text[19:]}" if leap else text)
        if made.tzinfo is None and text[10:11] in ("T", " "):  # a day alone is no moment
            made = made.replace(tzinfo=UTC)
        if made.tzinfo is not None:
            return made + timedelta(seconds=leap)
    raise Mismatch("expected an ISO 8601 date and time")


_SCALARS: dict[Any, Hook] = {
    Any: _as_it_is,
    object: _as_it_is,
    str: _scalar("a string", str),
    int: _scalar("a whole number", int),
    bool: _scalar("a boolean", bool),
    float: _scalar("a number", float, int),  # as it is: an int counts as a float (PEP 484)
    Secret: _secret,
    datetime: _datetime,
    None: _scalar("null", type(None)),
    type(None): _scalar("null", type(None)),
}


def _list_hook(item: Any, *, in_place: bool = False) -> Hook:
    """The hook of a list. One `in_place` lets go of what an item was at once, which halves the garbage."""

    def hook(value: Any) -> list[Any]:
        if value.__class__ is not list:
            raise wrong("an array", value)
        made, each, i = value if in_place else value.copy(), hook_of(item), 0
        try:
            for i in range(len(made)):
                made[i] = each(made[i])
        except Mismatch as mismatch:
            raise mismatch.under(f"[{i}]") from None
        return made

    return hook


def _dict_hook(item: Any) -> Hook:
    def hook(value: Any) -> dict[str, Any]:
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


def _union_hook(kind: Any) -> Hook:
    """The hook of `X | None`, and of models told apart by their `type`, of which an unknown one stays a dict."""
    bare = simple(kind)
    inner = _tagged_hook(bare) if is_union(bare) else hook_of(bare)
    if not is_nullable(kind):
        return inner

    def hook(value: Any) -> Any:
        return None if value is None else inner(value)

    return hook


def _tagged_hook(union: Any) -> Hook:
    models = {attrs.fields_dict(one)["type"].default: one for one in get_args(union) if attrs.has(one)}

    def hook(value: Any) -> Any:
        if value.__class__ is not dict:
            raise wrong("an object", value)
        tag = value.get("type")
        if tag.__class__ is not str or tag not in models:
            return value  # a member that this version does not know
        return hook_of(models[tag])(value)

    return hook


@cached
def is_free(kind: Any, above: tuple[Any, ...] = ()) -> bool:
    """If a type holds numbers of any size: free JSON, or a float that may come as a whole number."""
    if kind in (Any, object, float):
        return True
    if get_origin(kind) is Literal or kind in above:
        return False
    parts: Any = [one.type for one in fields(kind)] if attrs.has(kind) else get_args(kind)
    return any(is_free(one, (*above, kind)) for one in parts)
