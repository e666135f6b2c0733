"""JSON to attrs classes and back, strictly: a value of another type is an error, never converted.

Hooks are compiled once per class. Each reads its keys, checks scalars in line, and calls hooks of other types; where a
value does not fit, `Mismatch` collects the path to it on its way up.
"""

import json
import types
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from prisma_mgmt.credentials import Secret

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
    return _orjson.loads(data) if _orjson else json.loads(data, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def dump(value: Any) -> bytes:
    """`value` as a JSON document; models, aware datetimes and containers of them included. UNSET keys are left out."""
    plain = converter.unstructure(value)
    if _orjson:
        return bytes(_orjson.dumps(plain))
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def structure(value: JSON, model: type[T]) -> T:
    """`value` as a `model`; raises Mismatch, with the path of the field at fault."""
    hook: Hook = converter.get_structure_hook(model)
    fitted: T = hook(value, model)
    return fitted


def _wrong(wanted: str, value: Any) -> Mismatch:
    names: dict[Any, str] = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return Mismatch(f"expected {wanted}, got {names.get(type(value), 'a number')}")


def _located(error: Exception, key: str) -> Mismatch:
    return (error if isinstance(error, Mismatch) else Mismatch("missing")).under(key)


def _number(value: Any, _: Any) -> float:
    if value.__class__ is not float and value.__class__ is not int:
        raise _wrong("a number", value)
    return value  # as it is: an int counts as a float (PEP 484)


def _secret(value: Any, _: Any) -> Secret:
    if value.__class__ is not str:
        raise _wrong("a string", value)
    return Secret(value)


def _datetime(value: Any, _: Any) -> datetime:
    if value.__class__ is not str:
        raise _wrong("a date and time", value)
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise Mismatch("expected an ISO 8601 date and time") from None


def _as_it_is(value: Any, _: Any) -> Any:
    return value


def _scalar(kind: type, wanted: str) -> Hook:
    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not kind:
            raise _wrong(wanted, value)
        return value

    return hook


def _list_hook(kind: Any) -> Hook:
    (item,) = get_args(kind)
    each: Hook = converter.get_structure_hook(item)

    def hook(value: Any, _: Any) -> list[Any]:
        if value.__class__ is not list:
            raise _wrong("an array", value)
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
    each: Hook = converter.get_structure_hook(item)

    def hook(value: Any, _: Any) -> dict[str, Any]:
        if value.__class__ is not dict:
            raise _wrong("an object", value)
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
    inner = _tagged_hook(simple) if _is_union(simple) else converter.get_structure_hook(simple)
    if type(None) not in get_args(kind):
        return lambda value, _: inner(value, simple)
    return lambda value, _: None if value is None else inner(value, simple)


def _tagged_hook(union: Any) -> Hook:
    hooks: dict[Any, tuple[Hook, type]] = {
        attrs.fields_dict(model)["type"].default: (converter.get_structure_hook(model), model)
        for model in get_args(union)
        if attrs.has(model)
    }

    def hook(value: Any, _: Any) -> Any:
        if value.__class__ is not dict:
            raise _wrong("an object", value)
        tag = value.get("type")
        if tag.__class__ is not str or tag not in hooks:
            return value  # a member that this version does not know
        each, model = hooks[tag]
        return each(value, model)

    return hook


_INLINE: dict[Any, str] = {str: "a string", int: "a whole number", bool: "a boolean"}


def _model_hook(model: type) -> Hook:
    """Compile the hook of one attrs class."""
    scope: dict[str, Any] = {"model": model, "wrong": _wrong, "located": _located, "Mismatch": Mismatch, "UNSET": UNSET}
    lines = ["def hook(o, _):", "  if o.__class__ is not dict: raise wrong('an object', o)"]
    for i, attribute in enumerate(attrs.fields(model)):
        key = json_key(attribute)
        scope[f"d{i}"] = attribute.default
        read = f"o[{key!r}]" if attribute.default is attrs.NOTHING else f"o.get({key!r}, d{i})"
        lines += ["  try:", f"    v{i} = {read}", f"    {_check(i, attribute, scope)}"]
        lines += [f"  except (KeyError, Mismatch) as error: raise located(error, {key!r}) from None"]
    lines.append(f"  return model({', '.join(f'v{i}' for i in range(len(attrs.fields(model))))})")
    exec("\n".join(lines), scope)  # noqa: S102  # as attrs does; the names come from our own models
    hook: Hook = scope["hook"]
    return hook


def _check(i: int, attribute: "attrs.Attribute[Any]", scope: dict[str, Any]) -> str:
    """The statement that checks and converts `v{i}`."""
    kind = _simple(attribute.type)
    if kind in (Any, object):
        return "pass"
    guard = f"v{i} is not None and " if type(None) in get_args(attribute.type) else ""
    guard += f"v{i} is not UNSET and " if attribute.default is UNSET else ""
    if kind in _INLINE:
        return f"if {guard}v{i}.__class__ is not {kind.__name__}: raise wrong({_INLINE[kind]!r}, v{i})"
    scope[f"h{i}"], scope[f"t{i}"] = converter.get_structure_hook(kind), kind
    return f"if {guard}True: v{i} = h{i}(v{i}, t{i})"


def _unstructure_model(model: type) -> Callable[[Any], Any]:
    renames: dict[str, Any] = {
        attribute.name: override(rename=json_key(attribute), omit_if_default=attribute.default in (None, UNSET))
        for attribute in attrs.fields(model)
    }
    return make_dict_unstructure_fn(model, converter, **renames)


def _unstructure_dict(value: dict[str, Any]) -> dict[str, Any]:
    return {key: converter.unstructure(one) for key, one in value.items() if one is not UNSET}


def iso(value: datetime) -> str:
    """`value` in ISO 8601; ValueError for one without a time zone."""
    if value.utcoffset() is None:
        raise ValueError("a datetime without a time zone is ambiguous; give it one, such as timezone.utc")
    return value.isoformat()


def _originates(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


def _make_converter() -> Converter:
    made = Converter()
    made.register_structure_hook_func(lambda kind: kind in (Any, object), _as_it_is)
    for kind, wanted in _INLINE.items():
        made.register_structure_hook(kind, _scalar(kind, wanted))
    made.register_structure_hook(float, _number)
    made.register_structure_hook(Secret, _secret)
    made.register_structure_hook(datetime, _datetime)
    made.register_structure_hook_func(_originates(Literal), _scalar(str, "a string"))
    made.register_structure_hook_factory(_originates(list), _list_hook)
    made.register_structure_hook_factory(_originates(dict), _dict_hook)
    made.register_structure_hook_factory(_is_union, _union_hook)
    made.register_structure_hook_factory(attrs.has, _model_hook)
    made.register_unstructure_hook_factory(attrs.has, _unstructure_model)
    made.register_unstructure_hook(datetime, iso)
    made.register_unstructure_hook(dict, _unstructure_dict)
    return made


converter = _make_converter()
