"""Writes JSON, and the values of queries: what becomes of models, of dates, and of containers that callers send.

Everything is first made plain (objects, arrays, text, numbers) by one function, so that what is sent does not depend on
the library that writes it.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast
from uuid import UUID

import attrs

from prisma_mgmt.core import codec
from prisma_mgmt.core.kinds import JSON, UNSET, cached, fields, json_key
from prisma_mgmt.masks import Secret, SecretBytes

if TYPE_CHECKING:
    from cattrs import BaseConverter
else:  # it is imported by the first who needs it, and yet the annotations can be evaluated
    BaseConverter = Any

MASK = "**********"
Nulls: TypeAlias = Literal["all", "required", "none"]  # fields that are written as null if they are None
_NULL: dict[Nulls, tuple[bool, ...]] = {"all": (True, False), "required": (False,), "none": ()}  # if they are optional
_AS_IT_IS: frozenset[type] = frozenset({type(None), bool, int, str})  # JSON has them; a subclass may be a Secret
_DEEPEST = 250  # levels; orjson writes few more, and a body that holds itself has no end


def dump(value: Any) -> SecretBytes:
    """`value` as a JSON document; models, aware datetimes and containers of them included. UNSET keys are left out.

    Raises ValueError or TypeError for what JSON has not, naming where it stands: NaN, Infinity, keys that are no
    strings, halves of surrogate pairs, and what holds itself.
    """
    try:
        return SecretBytes(written(_SENT.of(value, ())))
    except (TypeError, ValueError) as error:
        error.__cause__ = error.__context__ = None  # which may quote the body
        raise


def plain(value: Any, *, secrets: bool, at: str = "", nulls: Nulls = "all") -> JSON:
    """`value` as it is in JSON, masked unless `secrets`. What is UNSET is left out, and None as far as `nulls` says.

    Raises what `dump` raises; `at` is the name of the value there.
    """
    return _Plain(secrets=secrets, nulls=nulls).of(value, (at,) if at else ())


@cache
def converter() -> "BaseConverter":
    """What makes JSON of values that have no form in it: dates, UUIDs, members of enumerations.

    Whoever sends values of other types registers a hook: `converter().register_unstructure_hook(Decimal, str)`.
    """
    from cattrs import BaseConverter  # most programs send no such value

    made = BaseConverter()
    made.register_unstructure_hook(datetime, iso)
    made.register_unstructure_hook(date, date.isoformat)
    made.register_unstructure_hook(time, time.isoformat)
    made.register_unstructure_hook(UUID, str)
    made.register_unstructure_hook(Path, lambda path: path)  # which cattrs makes text of: it may not be meant
    return made


def iso(value: datetime) -> str:
    """`value` in ISO 8601; ValueError for one without a time zone."""
    if value.utcoffset() is None:
        raise ValueError("a datetime without a time zone is ambiguous; give it one, such as timezone.utc")
    return value.isoformat()


def written(plain: JSON) -> bytes:
    """What is plain, as a JSON document."""
    orjson = codec._orjson  # pyright: ignore[reportPrivateUsage]  # one place decides which library serves
    if orjson:
        try:
            return bytes(orjson.dumps(plain))
        except TypeError:  # a number past 64 bits, half of a surrogate pair
            pass
    try:
        return json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:  # which would show the whole body
        raise ValueError("the body holds half of a surrogate pair") from None


class _Plain:
    """Makes values plain; `at` is where one stands, a step for each level."""

    __slots__ = ("_null", "_secrets")

    def __init__(self, *, secrets: bool = True, nulls: Nulls = "required") -> None:
        self._secrets = secrets
        self._null = _NULL[nulls]

    def of(self, value: Any, at: tuple[str | int, ...]) -> JSON:
        if value.__class__ in _AS_IT_IS:
            return value
        if isinstance(value, str):
            return MASK if value and not self._secrets and isinstance(value, Secret) else str.__str__(value)
        if isinstance(value, int):
            return int.__int__(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"JSON has no NaN and no Infinity, only finite numbers{_place(at)}")
            return float.__float__(value)
        if len(at) >= _DEEPEST:
            raise ValueError("the body is nested too deeply, or holds itself")
        try:
            return self._container(value, at)
        except RecursionError:
            raise ValueError("the body is nested too deeply, or holds itself") from None

    def _container(self, value: Any, at: tuple[str | int, ...]) -> JSON:
        if isinstance(value, list | tuple):
            array: list[JSON] = []
            for one in cast("Iterable[Any]", value):
                if one is UNSET:
                    raise TypeError(f"UNSET leaves out a key of an object; it cannot stand in a list{_place(at)}")
                array.append(self.of(one, (*at, len(array))))
            return array
        pairs = cast("Any", value).items() if isinstance(value, Mapping) else self._members(value)
        if pairs is None:
            return self._scalar(value, at)
        private = bool(at) and isinstance(value, Mapping)  # further in, keys are what callers store, and not shown
        made: dict[str, JSON] = {}
        for key, one in pairs:
            if not isinstance(key, str):
                raise TypeError(f"the keys of a JSON object are strings{_place(at)}")
            if one.__class__ in _AS_IT_IS:
                made[str.__str__(key)] = one
            elif one is not UNSET:
                made[str.__str__(key)] = self.of(one, (*at, "…" if private else key))
        return made

    def _members(self, value: Any) -> list[tuple[str, Any]] | None:
        """The keys and values of a model or a dataclass; None for anything else."""
        keys = _keys(value.__class__)
        if keys is None:
            return None
        sent = [(key, getattr(value, name), optional) for name, key, optional in keys]
        return [(key, one) for key, one, optional in sent if one is not None or optional in self._null]

    def _scalar(self, value: Any, at: tuple[str | int, ...]) -> JSON:
        try:
            made = converter().unstructure(value)
        except ValueError as error:
            raise ValueError(f"{error}{_place(at)}") from None
        if type(made) is type(value):
            raise TypeError(f"JSON has nothing for a value of type {type(value).__name__}{_place(at)}")
        return self.of(made, at)


_SENT = _Plain()


@cached
def _keys(kind: type) -> list[tuple[str, str, bool]] | None:
    """The name and the key of each field of a model or a dataclass, and if None is not sent; None for other types."""
    if attrs.has(kind):
        return [(one.name, json_key(one), one.default is None) for one in fields(kind)]
    return [(one.name, one.name, False) for one in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else None


def _place(at: tuple[str | int, ...]) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)
    return f", at {steps.removeprefix('.')}" if steps else ""
