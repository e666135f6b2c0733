"""What goes over the wire: refusals, request bodies and pages, in the Management API's own forms."""

import base64
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol, TypeVar, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

MAX_BODY = 1024 * 1024
MAX_LIMIT = 100

CODES = {
    400: "client-error",
    401: "authentication-failed",
    403: "permission-denied",
    404: "resource-not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "payload-too-large",
    422: "validation-error",
    501: "not-implemented",
}


class ApiError(Exception):
    """An answer of the Management API other than success."""

    def __init__(self, status: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint

    def response(self) -> Response:
        error = {"code": CODES.get(self.status, "client-error"), "message": self.message}
        if self.hint is not None:
            error["hint"] = self.hint
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else None
        return JSONResponse({"error": error}, self.status, headers)


def invalid(message: str, *, hint: str | None = None) -> ApiError:
    return ApiError(422, message, hint=hint)


class Fields:
    """Named values from a request, checked as they are taken out; an absent one is None."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str) -> str | None:
        if key not in self._values:
            return None
        value = self._values[key]
        if not isinstance(value, str) or not value.strip():
            raise invalid(f"{key} must be a string that is not blank.")
        return value

    def required(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise invalid(f"{key} is required.")
        return value

    def choice(self, key: str, choices: Collection[str]) -> str | None:
        value = self.text(key)
        if value is not None and value not in choices:
            raise invalid(f"{key} {value!r} is not known.", hint=f"Use one of: {', '.join(choices)}.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise invalid(f"{key} must be true or false.")
        return value

    def object(self, key: str) -> "Fields | None":
        if key not in self._values:
            return None
        value = self._values[key]
        if not isinstance(value, dict):
            raise invalid(f"{key} must be an object.")
        return Fields(cast("dict[str, object]", value))

    def limit(self, default: int) -> int:
        text = self.text("limit")
        if text is None:
            return default
        if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_LIMIT:
            raise invalid(f"limit must be a whole number from 1 to {MAX_LIMIT}.")
        return int(text)


async def read_body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise ApiError(413, f"The body is larger than {MAX_BODY} bytes.")
    except ClientDisconnect:
        raise ApiError(400, "The client left before its body was complete.") from None
    return bytes(body)


def parse_fields(body: bytes) -> Fields:
    """Read a JSON object; an empty body counts as an empty object, for no body is required by the API."""
    try:
        value: object = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise invalid("The body must be a JSON object.")
    return Fields(cast("dict[str, object]", value))


class Listed(Protocol):
    """Something with a place in the order of creation, which is the order of every list."""

    sequence: int


T = TypeVar("T", bound=Listed)


def page(query: Fields, items: Iterable[T], view: Callable[[T], object]) -> Response:
    """Answer one page. A cursor names the last item's place, so it outlives that item."""
    limit = query.limit(default=100)
    after = _read_cursor(query)
    rest = [item for item in items if item.sequence > after]
    shown, more = rest[:limit], len(rest) > limit
    pagination = {"nextCursor": _write_cursor(shown[-1].sequence) if more else None, "hasMore": more}
    return JSONResponse({"data": [view(item) for item in shown], "pagination": pagination})


def _write_cursor(sequence: int) -> str:
    return base64.urlsafe_b64encode(f"after:{sequence}".encode()).decode()


def _read_cursor(query: Fields) -> int:
    if "cursor" not in query:
        return 0
    try:
        place = base64.urlsafe_b64decode(query.required("cursor")).decode()
    except ValueError:
        place = ""
    match = re.fullmatch("after:([0-9]{1,18})", place)
    if match is None:
        raise invalid("cursor is not one that this API gave out.", hint="Pass the nextCursor of the page before.")
    return int(match[1])
