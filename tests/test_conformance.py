"""Every operation of the three descriptions, held to the facts: one method each, every key sent, every field back."""

import json
import re
from datetime import datetime
from typing import Any, get_origin
from urllib.parse import parse_qsl, quote, unquote

import attrs
import httpx
import pytest

import prisma_mgmt
from prisma_mgmt import Page, Pager
from prisma_mgmt.core.client import BaseClient
from prisma_mgmt.core.resource import Secret
from tests.operations import (
    APIS,
    TOKENLESS,
    TWICE,
    Recorder,
    arguments,
    as_route,
    client_of,
    document,
    method_for,
    methods_of,
    operations,
    routes,
    shape,
    signature_of,
    use,
)

pytestmark = pytest.mark.anyio


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
    names = re.findall(r"{(\w+)}", operation["path"])
    once = [quote(one, safe="") if name == TWICE else one for name, one in zip(names, ids, strict=True)]
    assert unquote(request.url.raw_path.decode().partition("?")[0]) == re.sub(
        r"\{\w+\}", "{}", httpx.URL(APIS[api]["base"]).path.rstrip("/") + operation["path"]
    ).format(*once)
    wants_token = operation["path"] not in TOKENLESS
    assert request.headers.get("authorization") == ("Bearer token" if wants_token else None)

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


def is_list(api: str, answer: Any) -> bool:
    """Whether an answer is a list, in an envelope or without."""
    schema = answer["schema"]
    if schema and "shape" in schema:
        schema = shape(api, schema["shape"])["fields"].get("data")
    return isinstance(schema, dict) and "list" in schema


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
@pytest.mark.parametrize(
    ("full", "drift"), [(True, False), (False, False), (True, True)], ids=["full", "least", "drift"]
)
@pytest.mark.parametrize(("api", "operation"), operations())
async def test_what_comes_back(api: str, operation: Any, full: bool, drift: bool, variant: int) -> None:
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
        schema = answer["schema"]
        payload = None if schema is None else document(api, schema, full=full, variant=variant, drift=drift)
        recorder.give(answer["status"], answer["type"], payload)
        result = await use(client, resource, method, ids, keywords)
        if answer["schema"] is None:
            assert result is None
        elif isinstance(payload, list):
            same(payload, list(result.items))
        elif isinstance(result, Page):
            same(payload["data"], list(result.items))
            pagination = payload.get("pagination", {"hasMore": False})
            assert result.has_more == pagination["hasMore"]
            assert result.next_cursor == pagination.get("nextCursor")
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


LISTS = [one for one in operations() if any(is_list(one.values[0], answer) for answer in one.values[1]["answers"])]


def test_there_are_lists() -> None:
    assert len(LISTS) == 41


@pytest.mark.parametrize(("api", "operation"), LISTS)
def test_every_list_is_a_pager(api: str, operation: Any) -> None:
    resource, method = method_for(api, operation)
    assert get_origin(signature_of(api, resource, method).return_annotation) is Pager


DELETES = [one for one in operations() if one.values[1]["method"] == "DELETE"]


@pytest.mark.parametrize(("api", "operation"), DELETES)
async def test_a_delete_may_find_nothing_if_told_so(api: str, operation: Any) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=False)
    recorder = Recorder()
    recorder.give(404, "application/json", {"error": {"code": "not_found", "message": "gone"}})
    with pytest.raises(prisma_mgmt.NotFoundError):
        await use(client_of(api, recorder), resource, method, ids, keywords)
    await use(client_of(api, recorder), resource, method, ids, {**keywords, "missing_ok": True})


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
