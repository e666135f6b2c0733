"""Every operation of the three descriptions, held to the facts: one method each, every key sent, every field back.

The facts are tests/data/operations.json, made from the published descriptions by a script of its own; nothing here
asks the generator or the committed descriptions.
"""

import inspect
import json
import re
import types
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qsl, unquote

import attrs
import httpx
import pytest

import prisma_mgmt
from prisma_mgmt import UNSET, Page, RetryPolicy
from prisma_mgmt.core.client import BaseClient
from prisma_mgmt.core.resource import JSON, LogStream, Resource, Secret, Unset

pytestmark = pytest.mark.anyio

APIS: dict[str, Any] = json.loads(Path(__file__).with_name("data").joinpath("operations.json").read_text("utf-8"))
NOON = "2026-11-21T12:00:00.000Z"


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
            ids.append(f"{name}/ü")
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


def document(api: str, schema: Any, *, full: bool, variant: int = 0) -> Any:
    """A document that a schema allows: with everything, or with the least."""
    if schema in ("string", "any"):
        return "text"
    if schema == "date-time":
        return NOON
    if schema in ("number", "integer"):
        return 3
    if schema == "boolean":
        return True
    if schema == "null":
        return None
    ((kind, inner),) = schema.items()
    if kind == "null":
        return document(api, inner, full=full, variant=variant) if full else None
    if kind == "enum":
        return inner[variant % len(inner)]
    if kind == "list":
        return [document(api, inner, full=full, variant=variant)]
    if kind == "dict":
        return {"key": document(api, inner, full=full)}
    if kind == "union":
        return document(api, inner[variant % len(inner)], full=full)
    found = shape(api, inner)
    return {
        key: document(api, value, full=full, variant=variant)
        for key, value in found["fields"].items()
        if full or key in found["required"] or key == "data"  # an envelope without it is none
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
    import anyio

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

    anyio.run(call_all)
    return found


def route_of(request: httpx.Request) -> str:
    """The request's path with its ids as `{}`."""
    path = request.url.raw_path.decode().partition("?")[0]
    return re.sub(r"[^/]*%2F%C3%BC", "{}", path)


def as_route(api: str, path: str) -> str:
    base = httpx.URL(APIS[api]["base"]).path.rstrip("/")
    return base + re.sub(r"\{\w+\}", "{}", path)


def method_for(api: str, operation: Any) -> tuple[str, str]:
    return routes(api)[operation["method"], as_route(api, operation["path"])]


# The tests


def test_there_are_150_operations() -> None:
    assert [len(facts["operations"]) for facts in APIS.values()] == [118, 17, 15]


@pytest.mark.parametrize("api", APIS)
def test_methods_and_operations_are_one_to_one(api: str) -> None:
    facts = {(one["method"], as_route(api, one["path"])) for one in APIS[api]["operations"]}
    assert set(routes(api)) == facts
    assert len(methods_of(api)) == len(facts)


@pytest.mark.parametrize("all_", [True, False], ids=["all", "required"])
@pytest.mark.parametrize(("api", "operation"), operations())
async def test_what_is_sent(api: str, operation: Any, all_: bool) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=all_)
    recorder = Recorder()
    recorder.give(599, "application/json", None)
    with pytest.raises(prisma_mgmt.ServerError):
        await use(client_of(api, recorder), resource, method, ids, keywords)
    (request,) = recorder.requests

    assert len(ids) == len(operation["path_params"])
    assert unquote(request.url.raw_path.decode().partition("?")[0]) == re.sub(
        r"\{\w+\}", "{}", httpx.URL(APIS[api]["base"]).path.rstrip("/") + operation["path"]
    ).format(*ids)
    assert request.headers["authorization"] == "Bearer token"

    query = dict(parse_qsl(request.url.query.decode(), keep_blank_values=True))
    wanted = {name for name, fact in operation["query_params"].items() if all_ or fact["required"]}
    assert set(query) == wanted
    assert all(fits(api, operation["query_params"][name]["schema"], as_json(value)) for name, value in query.items())
    for name, fact in operation["header_params"].items():
        assert (name in request.headers) == (all_ or fact["required"])

    if operation["body"] is None:
        assert request.content == b""
    elif operation["body"] == "any":
        assert json.loads(request.content) == {"any": [1, None]}
    else:
        body = json.loads(request.content)
        facts = shape(api, operation["body"]["shape"])
        assert set(body) == set(facts["fields"] if all_ else facts["required"])
        for key, value in body.items():
            assert fits(api, facts["fields"][key], value), key


def as_json(text: str) -> Any:
    """A query value as JSON has it."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def fits(api: str, schema: Any, value: Any) -> bool:
    """Whether a document is one that the facts allow."""
    if schema == "any":
        return True
    if isinstance(schema, str):
        wanted: dict[str, Any] = {
            "string": str,
            "date-time": str,
            "boolean": bool,
            "number": (int, float),
            "integer": int,
        }
        return isinstance(value, wanted[schema])
    ((kind, inner),) = schema.items()
    if kind == "null":
        return value is None or fits(api, inner, value)
    if kind == "enum":
        # enums are open, and constants are plain strings; "true" and "false" are booleans to a user
        return isinstance(value, type(inner[0])) or str(value).lower() in inner
    if kind == "list":
        return isinstance(value, list) and all(fits(api, inner, one) for one in value)
    if kind == "dict":
        return isinstance(value, dict) and all(fits(api, inner, one) for one in value.values())
    if kind == "union":
        return any(fits(api, one, value) for one in inner)
    facts = shape(api, inner)
    return (
        isinstance(value, dict)
        and set(facts["required"]) <= set(value) <= set(facts["fields"])
        and all(fits(api, facts["fields"][key], one) for key, one in value.items())
    )


@pytest.mark.parametrize("variant", range(3))
@pytest.mark.parametrize("full", [True, False], ids=["full", "least"])
@pytest.mark.parametrize(("api", "operation"), operations())
async def test_what_comes_back(api: str, operation: Any, full: bool, variant: int) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=False)
    for answer in operation["answers"]:
        if answer["status"] == 101:
            continue  # the switch to a WebSocket is no answer to this request
        recorder = Recorder()
        client = client_of(api, recorder)
        if answer["type"] == "application/x-ndjson":
            await _log(api, answer, recorder, client, (resource, method), ids, full=full)
            continue
        payload = None if answer["schema"] is None else document(api, answer["schema"], full=full, variant=variant)
        recorder.give(answer["status"], answer["type"], payload)
        result = await use(client, resource, method, ids, keywords)
        if answer["schema"] is None:
            assert result is None
        elif isinstance(result, Page):
            same(payload["data"], list(result.items))
            assert result.has_more == payload["pagination"]["hasMore"]
            assert result.next_cursor == payload["pagination"].get("nextCursor")
            assert result.extras == {key: one for key, one in payload.items() if key not in ("data", "pagination")}
        elif isinstance(payload, dict) and "data" in payload:
            rest = {key: one for key, one in payload.items() if key != "data"}
            same({**rest, **payload["data"]} if rest else payload["data"], result)
        else:
            same(payload, result)


async def _log(
    api: str, answer: Any, recorder: Recorder, client: BaseClient, name: tuple[str, str], ids: list[str], *, full: bool
) -> None:
    record, terminal = (document(api, one, full=full) for one in answer["schema"]["union"])
    lines = [json.dumps(one).encode() for one in (record, record, {**terminal, "kind": "end"})]
    recorder.give(200, answer["type"], b"\n".join(lines) + b"\n")
    records, end = await use(client, *name, ids, {})
    same([record, record], records)
    same({**terminal, "kind": "end"}, end)


def same(wire: Any, decoded: Any) -> None:
    """Every field of a document came back as what it is."""
    if attrs.has(type(decoded)):
        attributes = {key_of(one): getattr(decoded, one.name) for one in attrs.fields(type(decoded))}
        assert set(wire) <= set(attributes)
        for key, value in attributes.items():
            same(wire.get(key), value)
    elif isinstance(decoded, list | tuple):
        assert len(wire) == len(decoded)
        for one, other in zip(wire, decoded, strict=True):
            same(one, other)
    elif isinstance(decoded, datetime):
        assert decoded == datetime.fromisoformat(wire)
    elif isinstance(decoded, dict):
        assert wire.keys() == decoded.keys()
        for key, value in decoded.items():
            same(wire[key], value)
    else:
        assert wire == decoded
        assert type(decoded) in (type(wire), Secret, float)


def key_of(attribute: "attrs.Attribute[Any]") -> str:
    head, *rest = attribute.name.rstrip("_").split("_")
    return str(attribute.metadata.get("key", head + "".join(word.capitalize() for word in rest)))


@pytest.mark.parametrize(("api", "operation"), operations())
@pytest.mark.parametrize("bad", ["", ".", "..", "a\x00b", "a\nb"])
async def test_a_bad_id_is_refused_before_anything_is_sent(api: str, operation: Any, bad: str) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=False)
    for position in range(len(ids)):
        recorder = Recorder()
        with pytest.raises(ValueError, match="id"):
            await use(
                client_of(api, recorder), resource, method, [*ids[:position], bad, *ids[position + 1 :]], keywords
            )
        assert recorder.requests == []


@pytest.mark.parametrize(("api", "operation"), operations())
async def test_an_unknown_keyword_is_refused(api: str, operation: Any) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=False)
    with pytest.raises(TypeError, match="no_such_keyword"):
        await use(client_of(api, Recorder()), resource, method, ids, {**keywords, "no_such_keyword": 1})


@pytest.mark.parametrize(("api", "operation"), operations())
async def test_null_and_absent_differ_in_a_body(api: str, operation: Any) -> None:
    if operation["body"] is None or "shape" not in operation["body"]:
        return
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=False)
    facts = shape(api, operation["body"]["shape"])
    nullable = {key for key, schema in facts["fields"].items() if "null" in schema and key not in facts["required"]}
    parameters = signature_of(api, resource, method).parameters
    takes_null = {
        name for name, one in parameters.items() if one.default is UNSET and type(None) in get_args(one.annotation)
    }
    assert len(takes_null) == len(nullable)
    recorder = Recorder()
    recorder.give(599, "application/json", None)
    with pytest.raises(prisma_mgmt.ServerError):
        await use(client_of(api, recorder), resource, method, ids, {**keywords, **dict.fromkeys(takes_null)})
    body = json.loads(recorder.requests[0].content)
    assert {key for key, value in body.items() if value is None} == nullable
