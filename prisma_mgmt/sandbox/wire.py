"""What goes over the wire: refusals, request bodies and cursors, in the Management API's own forms."""

import base64
import json
import math
import re
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from prisma_mgmt.sandbox.schema import is_list, is_object

MAX_BODY = 1024 * 1024
MAX_LIMIT = 100
MAX_DEPTH = 100

CODES = {
    400: "client-error",
    401: "authentication-failed",
    403: "permission-denied",
    404: "resource-not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "payload-too-large",
    415: "unsupported-media-type",
    422: "validation-error",
    429: "rate-limit-exceeded",
}


class ApiError(Exception):
    """An answer of the Management API other than success; `more` stands beside its code and message."""

    def __init__(self, status: int, message: str, *, hint: str | None = None, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint
        self.more = more

    def response(self) -> Response:
        code = CODES.get(self.status, "client-error" if self.status < 500 else "internal-server-error")
        error: dict[str, object] = {"code": code, "message": self.message}
        if self.hint is not None:
            error["hint"] = self.hint
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else None
        return JSONResponse({"error": {**error, **self.more}}, self.status, headers)


def missing(what: str) -> ApiError:
    return ApiError(404, f"{what} does not exist, or this token may not see it.")


async def read_body(request: Request) -> bytes:
    body = bytearray()
    await read_chunks(request, MAX_BODY, body.extend)
    return bytes(body)


async def read_chunks(request: Request, limit: int, take: Callable[[bytes], object]) -> int:
    """Hand a body on as it comes, and tell its size."""
    size = 0
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise ApiError(413, f"The body is larger than {limit} bytes.")
                take(chunk)
    except ClientDisconnect:
        raise ApiError(400, "The client left before its body was complete.") from None
    return size


def parse_json(body: bytes) -> Any:
    """Read JSON that can be stored and written again: finite, not too deep, and all of it text that has bytes."""
    try:
        value = json.loads(body, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not valid JSON.") from None
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        for one in level:
            if isinstance(one, str):
                check_text(one)
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return value
    raise ApiError(400, f"The body is nested deeper than {MAX_DEPTH} levels.")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a number of JSON")
    return number


def _inside(value: Any) -> list[Any]:
    if is_object(value):
        return [*value, *value.values()]
    return value if is_list(value) else []


def check_text(text: str, what: str = "The body") -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ApiError(400, f"{what} holds half of a surrogate pair, which is no text.") from None
    return text


def write_cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"after:{place}".encode()).decode()


def read_cursor(cursor: str) -> int | None:
    """The place that a cursor names; None if it is not one that this API gave out."""
    try:
        place = base64.urlsafe_b64decode(cursor).decode()
    except ValueError:
        return None
    match = re.fullmatch("after:([0-9]{1,18})", place, re.ASCII)
    return None if match is None else int(match[1])
