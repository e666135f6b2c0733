"""The same bytes read by several libraries, each into classes that mirror our own model."""

import gc
import json
import time
import tracemalloc
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from benchmarks.answers import MANY, ONE, page
from benchmarks.worker import Measure, Opening
from prisma_mgmt.core.resource import Secret
from prisma_mgmt.management.connections import Connection

MANY_OBJECTS = 10_000
Decode = Callable[[bytes], Any]
Make = Callable[[str, list[tuple[str, Any, Any]]], type]  # a class from its name and its fields: name, type, default


def mirror(model: type, make: Make) -> type:
    """A class of another library with the fields of one of our models, those of the models in it included."""

    def mirrored(kind: Any) -> Any:
        if get_origin(kind) in (Union, types.UnionType):
            members = {mirrored(member): None for member in get_args(kind)}
            return Union[tuple(members)]  # noqa: UP007  # made from a tuple
        if get_origin(kind) is Literal or kind is Secret:
            return str  # open enums and secrets are strings to others
        return mirror(kind, make) if attrs.has(kind) else kind

    fields = [(field.name, mirrored(field.type), field.default) for field in attrs.fields(model)]
    return make(model.__name__, fields)


def camel(name: str) -> str:
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(word.capitalize() for word in rest)


def decoder(library: Callable[[], tuple[Decode, Decode]]) -> Opening:
    """A library as something to measure."""

    @asynccontextmanager
    async def subject(_: str) -> AsyncIterator[Measure]:
        one, many = library()
        check(one(ONE), many(MANY))

        async def measured(what: str, count: int) -> float:
            if what == "memory":
                return memory(many, count)
            return cpu(*((one, ONE) if what == "one" else (many, MANY)), count)

        yield measured

    return subject


@decoder
def prisma() -> tuple[Decode, Decode]:
    from prisma_mgmt.core.answers import read
    from prisma_mgmt.core.call import Answer
    from prisma_mgmt.core.paging import read_page

    def one(data: bytes) -> Any:
        return read(Answer(200, {}, data), Connection)

    def many(data: bytes) -> Any:
        return read_page(Answer(200, {}, data), Connection).items

    return one, many


@decoder
def floor() -> tuple[Decode, Decode]:
    from orjson import loads

    from prisma_mgmt.core.codec import hook_of

    hook = hook_of(Connection)

    def one(data: bytes) -> Any:
        return hook(loads(data)["data"])

    def many(data: bytes) -> Any:
        items = loads(data)["data"]
        for i, item in enumerate(items):
            items[i] = hook(item)
        return items

    return one, many


@decoder
def msgspec() -> tuple[Decode, Decode]:
    from msgspec import NODEFAULT, Struct, defstruct
    from msgspec.json import Decoder

    def make(name: str, fields: list[tuple[str, Any, Any]]) -> type[Struct]:
        members = [(key, kind, NODEFAULT if default is attrs.NOTHING else default) for key, kind, default in fields]
        return defstruct(name, members, rename=camel)

    model = mirror(Connection, make)
    one = defstruct("One", [("data", model)])
    pagination = defstruct("Pagination", [("has_more", bool), ("next_cursor", str | None, None)], rename="camel")
    many = defstruct("Many", [("data", list[model]), ("pagination", pagination)])  # type: ignore[valid-type]  # a value
    one_decoder: Any = Decoder(one)
    many_decoder: Any = Decoder(many)
    return lambda data: one_decoder.decode(data).data, lambda data: many_decoder.decode(data).data


@decoder
def pydantic() -> tuple[Decode, Decode]:
    from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

    config = ConfigDict(alias_generator=camel, strict=True)

    def make(name: str, fields: list[tuple[str, Any, Any]]) -> type[BaseModel]:
        members: dict[str, Any] = {
            key: (kind, ... if default is attrs.NOTHING else default) for key, kind, default in fields
        }
        return create_model(name, __config__=config, **members)

    model = mirror(Connection, make)
    pagination = create_model("Pagination", __config__=config, has_more=(bool, ...), next_cursor=(str | None, None))
    one: Any = TypeAdapter(create_model("One", data=(model, ...)))
    listed = list[model]  # type: ignore[valid-type]  # a value
    many: Any = TypeAdapter(create_model("Many", data=(listed, ...), pagination=(pagination, ...)))
    return lambda data: one.validate_json(data).data, lambda data: many.validate_json(data).data


@decoder
def cattrs() -> tuple[Decode, Decode]:
    from cattrs.gen import make_dict_structure_fn, override
    from cattrs.preconf.orjson import make_converter

    converter = make_converter()

    def make(name: str, fields: list[tuple[str, Any, Any]]) -> type:
        members = {key: attrs.field(type=kind, default=default) for key, kind, default in fields}
        made = attrs.make_class(name, members)
        renames: dict[str, Any] = {key: override(rename=camel(key)) for key in members}
        converter.register_structure_hook(made, make_dict_structure_fn(made, converter, **renames))
        return made

    converter.register_structure_hook(datetime, lambda value, _: datetime.fromisoformat(value))
    model = mirror(Connection, make)
    one = attrs.make_class("One", {"data": attrs.field(type=model)})
    pagination = make("Pagination", [("has_more", bool, attrs.NOTHING), ("next_cursor", str | None, None)])
    listed = list[model]  # type: ignore[valid-type]  # a value
    many = attrs.make_class("Many", {"data": attrs.field(type=listed), "pagination": attrs.field(type=pagination)})
    return lambda data: converter.loads(data, one).data, lambda data: converter.loads(data, many).data


@decoder
def orjson() -> tuple[Decode, Decode]:
    from orjson import loads

    return lambda data: loads(data)["data"], lambda data: loads(data)["data"]


@decoder
def stdlib() -> tuple[Decode, Decode]:
    return lambda data: json.loads(data)["data"], lambda data: json.loads(data)["data"]


def check(one: Any, many: Any) -> None:
    """Raises AssertionError where a library has not read what was there."""
    found = one["id"] if isinstance(one, dict) else one.id
    assert found.startswith("con_")
    assert len(many) == 100


def cpu(decode: Decode, data: bytes, count: int) -> float:
    """µs for one document."""
    gc.collect()
    before = time.process_time()
    for _ in range(count):
        decode(data)
    return (time.process_time() - before) / count * 1e6


def memory(many: Decode, count: int) -> float:
    """Bytes for one object, by what stays allocated for all of them."""
    data = page(count)
    gc.collect()
    tracemalloc.start()
    kept = many(data)
    gc.collect()
    allocated, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return allocated / len(kept)
