"""Values that no operation takes are refused before anything is sent; null differs from what is left out."""

import json
from datetime import datetime
from typing import Any, get_args

import pytest

import prisma_mgmt
from prisma_mgmt import UNSET
from prisma_mgmt.core.resource import JSON
from tests.operations import (
    APIS,
    Recorder,
    arguments,
    client_of,
    method_for,
    operations,
    shape,
    signature_of,
    use,
    word_of,
)

pytestmark = pytest.mark.anyio


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


def words(api: str, operation: Any) -> dict[str, Any]:
    """The keywords of an operation that go into its query or its body, and the facts of their values."""
    found = {word_of(key): fact["schema"] for key, fact in operation["query_params"].items()}
    if isinstance(operation["body"], dict) and "shape" in operation["body"]:
        found |= {word_of(key): schema for key, schema in shape(api, operation["body"]["shape"])["fields"].items()}
    return found


def is_choice(schema: Any) -> bool:
    """Whether a value is a word of an enumeration, or a string with some words of a meaning of their own."""
    if isinstance(schema, str):
        return False
    ((kind, inner),) = schema.items()
    if kind == "union":
        return "string" in inner
    return is_choice(inner) if kind == "null" else kind == "enum" and "true" not in inner


CHOICES = [
    pytest.param(*one.values, word, id=f"{one.id} {word}")
    for one in operations()
    for word, schema in words(*one.values).items()
    if is_choice(schema)
]


def test_there_are_choices() -> None:
    assert len(CHOICES) == 23


@pytest.mark.parametrize("wrong", [7, True, b"us-east-1", ["us-east-1"], {"region": "us-east-1"}])
@pytest.mark.parametrize(("api", "operation", "word"), CHOICES)
async def test_a_word_that_is_no_string_is_refused_before_anything_is_sent(
    api: str, operation: Any, word: str, wrong: object
) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=True)
    recorder = Recorder()
    with pytest.raises(TypeError, match=rf"^{word} must be a string, not {type(wrong).__name__}$"):
        await use(client_of(api, recorder), resource, method, ids, {**keywords, word: wrong})
    assert recorder.requests == []


@pytest.mark.parametrize(("api", "operation", "word"), CHOICES)
async def test_a_word_that_nobody_knows_yet_is_sent(api: str, operation: Any, word: str) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=False)
    recorder = Recorder()
    recorder.give(599, "application/json", None)
    with pytest.raises(prisma_mgmt.ServerError):
        await use(client_of(api, recorder), resource, method, ids, {**keywords, word: "mars-1"})
    (request,) = recorder.requests
    assert b"mars-1" in request.content + request.url.query


@pytest.mark.parametrize(("api", "operation"), operations())
async def test_an_id_that_is_no_string_is_refused_before_anything_is_sent(api: str, operation: Any) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=False)
    for position in range(len(ids)):
        recorder = Recorder()
        with pytest.raises(TypeError, match="string"):
            wrong: list[Any] = [*ids[:position], 7, *ids[position + 1 :]]
            await use(client_of(api, recorder), resource, method, wrong, keywords)
        assert recorder.requests == []


@pytest.mark.parametrize("api", APIS)
async def test_a_naive_datetime_is_refused_before_anything_is_sent(api: str) -> None:
    """No keyword takes one as yet; free JSON does, and `request` takes any body and any query."""
    recorder = Recorder()
    client = client_of(api, recorder)
    for body, query in (({"at": datetime(2026, 11, 21)}, {}), (UNSET, {"at": datetime(2026, 11, 21)})):
        with pytest.raises(ValueError, match="without a time zone"):
            await client.request("POST", "/v1/things", body=body, query=query)
    assert recorder.requests == []


@pytest.mark.parametrize(("api", "operation"), operations())
async def test_a_naive_datetime_in_free_json_is_refused(api: str, operation: Any) -> None:
    resource, method = method_for(api, operation)
    ids, keywords = arguments(api, resource, method, all_=False)
    for name, parameter in signature_of(api, resource, method).parameters.items():
        if parameter.annotation is JSON or datetime in get_args(parameter.annotation):
            recorder = Recorder()
            with pytest.raises(ValueError, match="without a time zone"):
                wrong = {**keywords, name: datetime(2026, 11, 21)}
                await use(client_of(api, recorder), resource, method, ids, wrong)
            assert recorder.requests == []
