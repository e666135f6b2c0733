"""What a request says, checked against its operation: the path, the query, the body."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.requests import HTTPConnection

from prisma_mgmt.sandbox.description import Operation
from prisma_mgmt.sandbox.engine import Call
from prisma_mgmt.sandbox.schema import is_object
from prisma_mgmt.sandbox.state import Values
from prisma_mgmt.sandbox.views import MISSING
from prisma_mgmt.sandbox.wire import MAX_LIMIT, ApiError, parse_json

NAMES = re.compile(r".*[nN]ame(Contains)?|.*Id|key|hostname|commitSha|stack|stage|token|cursor", re.ASCII)


def segments_of(connection: HTTPConnection) -> list[str]:
    """The segments of a path, each unquoted for itself: a quoted slash parts nothing."""
    scope = connection.scope
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("latin-1").removeprefix(scope.get("root_path", ""))
    return [unquote(segment) for segment in path.split("/")[1:]]


def path_of(operation: Operation, segments: Sequence[str]) -> dict[str, str]:
    """The path parameters of an operation."""
    segments = segments[-len(operation.segments) :]
    names = operation.segments[-len(segments) :]
    return {name[1:-1]: value for name, value in zip(names, segments, strict=True) if name.startswith("{")}


def check_parameters(call: Call) -> None:
    """Check what stands in the path, beyond what it names, and that no header is missing."""
    for name, value in call.path.items():
        for problem in call.description.schemas.problems(call.operation.path.get(name, {}), value, name):
            raise call.refuse(*problem)
    for name in call.operation.headers:
        if name not in call.headers:
            raise call.refuse(f"The header {name} is required.")


def read_query(call: Call, query: str) -> Values:
    """The query parameters, each as its schema wants it."""
    known, found = call.operation.query, Values()
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:  # UnicodeDecodeError is one
        raise call.refuse("The query is not UTF-8.") from None
    for key, text in pairs:
        if key not in known:
            raise call.refuse(f"{key[:80]} is not a query parameter here.", f"There are: {', '.join(known) or 'none'}.")
        if key in found:
            raise call.refuse(f"{key} came more than once.")
        found[key] = _converted(call, key, text)
    for key, parameter in known.items():
        if parameter["required"] and key not in found:
            raise call.refuse(f"{key} is required in the query.")
    return found


def _converted(call: Call, key: str, text: str) -> Any:
    schema = call.description.schemas.resolve(call.operation.query[key]["schema"])
    value: Any = text
    if schema.get("type") == "integer" and re.fullmatch("-?[0-9]{1,9}", text, re.ASCII):
        value = int(text)
    elif schema.get("type") == "boolean":
        value = {"true": True, "false": False}.get(text, text)
    for problem in call.description.schemas.problems(schema, value, key):
        raise call.refuse(*problem)
    if key in {"limit", "tail"} and not 1 <= value <= MAX_LIMIT:
        raise call.refuse(f"{key} must be a whole number from 1 to {MAX_LIMIT}.")
    if not text.strip():
        raise call.refuse(f"{key} must not be blank.")
    return value


def read_fields(call: Call, body: bytes) -> Any:
    """The body of a request, MISSING if there is none; an operation that takes fields gets them."""
    schema = call.operation.body
    if schema is None or not (body or schema):
        return MISSING
    kind = call.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if body and kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(415, f"The body must be application/json, not {kind[:80]}.")
    value = parse_json(body or b"{}")
    for problem in call.description.schemas.problems(schema, value, "", closed=True):
        raise call.refuse(*problem)
    for key, field in value.items() if schema and is_object(value) else ():
        if isinstance(field, str) and not field.strip() and NAMES.fullmatch(key):
            raise call.refuse(f"{key} must not be blank.")
    return value
