"""The facts of every operation, what each method is called with, and a transport that keeps what is sent.

The facts are tests/data/operations.json, made from the published descriptions by a script of its own; nothing here
asks the generator or the committed descriptions.
"""

import inspect
import json
import re
import types
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import quote

import anyio
import attrs
import httpx
import pytest

import prisma_mgmt
from prisma_mgmt import RetryPolicy
from prisma_mgmt.core.client import BaseClient
from prisma_mgmt.core.resource import JSON, LogStream, Resource, Secret, Unset

APIS: dict[str, Any] = json.loads(Path(__file__).with_name("data").joinpath("operations.json").read_text("utf-8"))
NOON = "2026-11-21T12:00:00.000Z"
ODD = "/?#%2Fü"  # what an id may hold, and a path must quote
TWICE = "fqn"  # the id that the API decodes twice
KEPT = {"data", "parentLogicalId"}  # callers fill in a node too, and have to say null where it has no parent
TOKENLESS = {"/v1/auth/github-actions/token", "/v1/projects/{projectId}/branches/{branchId}/alchemy-state/version"}


class Recorder:
    """A transport that keeps what is sent and answers with what it was given."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.status = 200
        self.content = b""
        self.kind = "application/json"

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, content=self.content, headers={"content-type": self.kind})

    def give(self, status: int, kind: str, value: Any) -> None:
        self.status, self.kind = status, kind
        self.content = b"" if status == 204 else value if isinstance(value, bytes) else json.dumps(value).encode()


def client_of(api: str, recorder: Recorder) -> BaseClient:
    made: BaseClient = getattr(prisma_mgmt, api)(
        "token", transport=httpx.MockTransport(recorder), retry=RetryPolicy(attempts=1)
    )
    return made


@cache
def methods_of(api: str) -> list[tuple[str, str]]:
    """Every public method of every resource, as (resource, method)."""
    client = client_of(api, Recorder())
    inherited = set(dir(BaseClient))
    return [
        (resource, method)
        for resource in dir(type(client))
        if resource not in inherited and isinstance(getattr(client, resource), Resource)
        for method in dir(type(getattr(client, resource)))
        if not method.startswith("_")
    ]


@cache
def signature_of(api: str, resource: str, method: str) -> inspect.Signature:
    return inspect.signature(getattr(getattr(client_of(api, Recorder()), resource), method), eval_str=True)


def sample(kind: Any, name: str) -> Any:
    """A value of a parameter's type."""
    members = [one for one in get_args(kind) if one not in (type(None), Unset)]
    if get_origin(kind) in (Union, types.UnionType):
        return sample(members[0], name)
    if get_origin(kind) is Literal:
        return members[0]
    if kind in (str, Secret):
        return f"some {name}"
    if attrs.has(kind):
        fields = attrs.fields(attrs.resolve_types(kind))
        return kind(
            **{
                one.alias: one.default
                if one.name == "type" and one.default is not attrs.NOTHING
                else sample(one.type, one.name)
                for one in fields
            }
        )
    if get_origin(kind) in (Sequence, list, tuple):
        return [sample(members[0], name)]
    if get_origin(kind) in (Mapping, dict):
        return {"key": sample(get_args(kind)[1], name)}
    values: dict[Any, Any] = {
        int: 7,
        float: 0.5,
        bool: True,
        datetime: datetime(2026, 11, 21, tzinfo=UTC),
        JSON: {"any": [1, None]},
    }
    return values[kind]


def arguments(api: str, resource: str, method: str, *, all_: bool) -> tuple[list[str], dict[str, Any]]:
    """Ids by position, and the keywords: all of them, or those that are required."""
    ids, keywords = [], {}
    for name, parameter in signature_of(api, resource, method).parameters.items():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            ids.append(f"{name}{ODD}")
        elif all_ or parameter.default is parameter.empty:
            keywords[name] = sample(parameter.annotation, name)
    return ids, keywords


async def use(client: BaseClient, resource: str, method: str, ids: list[str], keywords: dict[str, Any]) -> Any:
    """What a method gives: its result, the first page of a pager, the records of a log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = getattr(getattr(client, resource), method)(*ids, **keywords)
    if isinstance(made, LogStream):
        return [record async for record in made], made.terminal
    return await made


# The facts


def shape(api: str, index: int) -> dict[str, Any]:
    found: dict[str, Any] = APIS[api]["shapes"][index]
    return found


def document(api: str, schema: Any, *, full: bool, variant: int = 0, drift: bool = False, key: str = "") -> Any:
    """A document that a schema allows: with everything, or with the least.

    With `drift` it lacks what the API may drop: what may be null, and what is deprecated.
    """
    if schema in ("string", "any"):
        return NOON if key.endswith("At") else "text"
    if schema == "date-time":
        return NOON
    if schema in ("number", "integer"):
        return 3
    if schema == "boolean":
        return True
    if schema == "null":
        return None
    ((kind, inner),) = schema.items()

    def inside(schema: Any, *, full: bool = full, variant: int = variant, key: str = key) -> Any:
        return document(api, schema, full=full, variant=variant, drift=drift, key=key)

    if kind == "null":
        return inside(inner) if full else None
    if kind == "enum":
        return inner[variant % len(inner)]
    if kind == "list":
        return [inside(inner)]
    if kind == "dict":
        return {"key": inside(inner, variant=0)}
    if kind == "union":
        return inside(inner[variant % len(inner)], variant=0)
    found = shape(api, inner)
    may_go = {name for name, value in found["fields"].items() if "null" in value or name in found["deprecated"]}
    return {
        name: inside(value, key=name)
        for name, value in found["fields"].items()
        if (full or name in found["required"] or name == "data") and not (drift and name in may_go - KEPT)
    }


def operations() -> list[Any]:
    return [
        pytest.param(api, operation, id=f"{operation['method']} {operation['path']} ({api[:2]})")
        for api, facts in APIS.items()
        for operation in facts["operations"]
    ]


@cache
def routes(api: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(HTTP method, route) -> (resource, method), found by calling every method once."""
    found: dict[tuple[str, str], tuple[str, str]] = {}

    async def call_all() -> None:
        for resource, method in methods_of(api):
            recorder = Recorder()
            recorder.give(599, "application/json", {"error": {"code": "stop", "message": "stop"}})
            ids, keywords = arguments(api, resource, method, all_=False)
            with pytest.raises(prisma_mgmt.ServerError):
                await use(client_of(api, recorder), resource, method, ids, keywords)
            (request,) = recorder.requests
            key = (request.method, route_of(request))
            assert key not in found, f"{key} is reached by {found.get(key)} and by {(resource, method)}"
            found[key] = (resource, method)

    with ThreadPoolExecutor(1) as thread:  # the test that asks first may run in an event loop of its own
        thread.submit(anyio.run, call_all).result()
    return found


def route_of(request: httpx.Request) -> str:
    """The request's path with its ids as `{}`."""
    path = request.url.raw_path.decode().partition("?")[0]
    once = quote(ODD, safe="")
    return re.sub(rf"[^/]*({once}|{quote(once, safe='')})", "{}", path)


def as_route(api: str, path: str) -> str:
    base = httpx.URL(APIS[api]["base"]).path.rstrip("/")
    return base + re.sub(r"\{\w+\}", "{}", path)


def method_for(api: str, operation: Any) -> tuple[str, str]:
    return routes(api)[operation["method"], as_route(api, operation["path"])]


def word_of(key: str) -> str:
    """The keyword for a key on the wire."""
    word = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
    return {"class": "class_"}.get(word, word)
