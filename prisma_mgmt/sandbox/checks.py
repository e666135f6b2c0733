"""What a request says, checked against its operation: the path, the query, the body."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.requests import HTTPConnection

from prisma_mgmt.sandbox.description import Description, Operation
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


def _refused(operation: Operation, message: str, hint: str | None = None) -> ApiError:
    return ApiError(operation.refusal, message, hint=hint)


def check_parameters(
    description: Description, operation: Operation, path: Mapping[str, str], headers: Mapping[str, str]
) -> None:
    """Check what stands in the path, beyond what it names, and that no header is missing."""
    for name, value in path.items():
        for problem in description.schemas.problems(operation.path.get(name, {}), value, name):
            raise _refused(operation, *problem)
    for name in operation.headers:
        if name not in headers:
            raise _refused(operation, f"The header {name} is required.")


def read_query(description: Description, operation: Operation, query: str) -> Values:
    """The query parameters, each as its schema wants it."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except ValueError:  # UnicodeDecodeError is one
        raise _refused(operation, "The query is not UTF-8.") from None
    found: Values = {}
    for key, text in pairs:
        if key not in operation.query:
            known = ", ".join(operation.query) or "none"
            raise _refused(operation, f"{key[:80]} is not a query parameter here.", f"There are: {known}.")
        if key in found:
            raise _refused(operation, f"{key} came more than once.")
        found[key] = _converted(description, operation, key, text)
    for key, parameter in operation.query.items():
        if parameter["required"] and key not in found:
            raise _refused(operation, f"{key} is required in the query.")
    return found


def _converted(description: Description, operation: Operation, key: str, text: str) -> Any:
    schema = description.schemas.resolve(operation.query[key]["schema"])
    value: Any = text
    if schema.get("type") == "integer" and re.fullmatch("-?[0-9]{1,9}", text, re.ASCII):
        value = int(text)
    elif schema.get("type") == "boolean":
        value = {"true": True, "false": False}.get(text, text)
    for problem in description.schemas.problems(schema, value, key):
        raise _refused(operation, *problem)
    if key in {"limit", "tail"} and not 1 <= value <= MAX_LIMIT:
        raise _refused(operation, f"{key} must be a whole number from 1 to {MAX_LIMIT}.")
    if not text.strip():
        raise _refused(operation, f"{key} must not be blank.")
    return value


def read_body_of(description: Description, operation: Operation, body: bytes, headers: Mapping[str, str]) -> Any:
    """The body of a request, MISSING if there is none; an operation that takes fields gets them."""
    schema = operation.body
    if schema is None:
        return MISSING
    if not body:
        if not schema:
            return MISSING
        value: Any = {}
    else:
        kind = headers.get("content-type", "application/json").split(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise ApiError(415, f"The body must be application/json, not {kind[:80]}.")
        value = parse_json(body)
    for problem in description.schemas.problems(schema, value, "", closed=True):
        raise _refused(operation, *problem)
    for key, field in value.items() if schema and is_object(value) else ():
        if isinstance(field, str) and not field.strip() and NAMES.fullmatch(key):
            raise _refused(operation, f"{key} must not be blank.")
    return value
