"""What a request says, checked against its operation: the path, the headers, the query, the body."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from prisma_mgmt.sandbox.description import Operation
from prisma_mgmt.sandbox.engine import Call
from prisma_mgmt.sandbox.schema import Schema, is_object
from prisma_mgmt.sandbox.state import Values
from prisma_mgmt.sandbox.wire import MAX_LIMIT, ApiError, parse_json

NAMES = re.compile(r".*[nN]ame(Contains)?|.*Id|key|hostname|commitSha|stack|stage|token", re.ASCII)


def segments_of(path: str) -> list[str]:
    """The segments of a path, each unquoted for itself: a quoted slash parts nothing."""
    return [unquote(segment) for segment in path.split("/")[1:]]


def path_of(operation: Operation, segments: Sequence[str]) -> dict[str, str]:
    """The path parameters of an operation."""
    segments = segments[-len(operation.segments) :]
    names = operation.segments[-len(segments) :]
    return {name[1:-1]: value for name, value in zip(names, segments, strict=True) if name.startswith("{")}


def read_parameters(call: Call, query: str) -> Values:
    """Check what stands beside the body, and read the query, each of its values as its schema wants it."""
    known, asked = call.operation.parameters("query"), Values()
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:  # UnicodeDecodeError is one
        raise call.refuse("The query is not UTF-8.") from None
    for key, text in pairs:
        if key in asked:
            raise call.refuse(f"{key} came more than once.")
        asked[key] = _typed(call.description.schemas.resolve(known["properties"].get(key, {})), text)
    for place, given in (("path", call.path), ("header", call.headers)):
        schema = call.operation.parameters(place)
        _check(call, schema, {name: given[name] for name in schema["properties"] if name in given})
    _check(call, known, asked)
    for key, value in asked.items():
        if key in {"limit", "tail"} and not 1 <= value <= MAX_LIMIT:
            raise call.refuse(f"{key} must be a whole number from 1 to {MAX_LIMIT}.")
        if isinstance(value, str) and not value.strip():
            raise call.refuse(f"{key} must not be blank.")
    return asked


def _typed(schema: Schema, text: str) -> Any:
    if schema.get("type") == "integer" and re.fullmatch("-?[0-9]{1,9}", text, re.ASCII):
        return int(text)
    return {"true": True, "false": False}.get(text, text) if schema.get("type") == "boolean" else text


def read_fields(call: Call, body: bytes) -> Any:
    """The body of a request, None if there is none; an operation that takes fields gets them."""
    schema = call.operation.body
    if schema is None or not (body or schema):
        return None
    kind = call.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if body and kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(415, f"The body must be application/json, not {kind[:80]}.")
    value = parse_json(body or b"{}")
    _check(call, schema, value)
    for key, field in value.items() if schema and is_object(value) else ():
        if isinstance(field, str) and not field.strip() and NAMES.fullmatch(key):
            raise call.refuse(f"{key} must not be blank.")
    return value


def _check(call: Call, schema: Schema, value: Any) -> None:
    for problem in call.description.schemas.problems(schema, value, "", closed=True):
        raise call.refuse(*problem)
