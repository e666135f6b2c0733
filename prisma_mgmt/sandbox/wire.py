"""What goes over the wire: refusals in the words of the API or of OAuth, request bodies and cursors."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from prisma_mgmt.sandbox.description import is_list, is_object

MAX_BODY = 1024 * 1024
MAX_LIMIT = 100
MAX_DEPTH = 100
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_CODES = {
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
_OAUTH_CODES = {401: "invalid_client", 429: "temporarily_unavailable", 503: "temporarily_unavailable"}


class RefusalError(Exception):
    """An answer other than success, in the form of whoever gives it."""

    def __init__(self, status: int, message: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body = body
        self.headers = headers

    def response(self) -> Response:
        return JSONResponse(self.body, self.status, self.headers)


class ApiError(RefusalError):
    """A refusal of the APIs. Its code goes with its status unless it is given; `more` stands beside the message."""

    def __init__(self, status: int, message: str, code: str | None = None, **more: object) -> None:
        code = code or _CODES.get(status, "client-error" if status < 500 else "internal-server-error")
        beside = {key: value for key, value in more.items() if value is not None}
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        super().__init__(status, message, {"error": {"code": code, "message": message, **beside}}, headers)


class OAuthError(RefusalError):
    """A refusal in OAuth's own words (RFC 6749, section 5.2)."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        code = code or _OAUTH_CODES.get(status, "invalid_request" if status < 500 else "server_error")
        message = re.sub(r"[^ !#-\[\]-~]", "?", message)  # no other character may stand there
        super().__init__(status, message, {"error": code, "error_description": message}, dict(NO_STORE))


def missing(what: str) -> ApiError:
    return ApiError(404, f"{what} does not exist, or this token may not see it.")


async def read_body(request: Request) -> bytes:
    return b"".join([chunk async for chunk in read_chunks(request, MAX_BODY)])


async def read_chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """A body as it comes, up to a number of bytes."""
    size = 0
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise ApiError(413, f"The body is larger than {limit} bytes.")
                yield chunk
    except ClientDisconnect:
        raise ApiError(400, "The client left before its body was complete.") from None


def parse_json(body: bytes) -> Any:
    """Read JSON that can be stored and written again: finite, not too deep, and all of it text that has bytes."""
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # which half of a surrogate pair does not bear
        too_deep = _depth(value) > MAX_DEPTH
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not valid JSON.") from None
    if too_deep:
        raise ApiError(400, f"The body is nested deeper than {MAX_DEPTH} levels.")
    return value


def _depth(value: Any) -> int:
    inside = value.values() if is_object(value) else value if is_list(value) else ()
    return 1 + max(map(_depth, inside), default=0)


def write_cursor(place: int) -> str:
    return f"after:{place}"


def read_cursor(cursor: str) -> int | None:
    """The place that a cursor names; None if it is not one that this API gave out."""
    match = re.fullmatch("after:([0-9]{1,18})", cursor, re.ASCII)
    return None if match is None else int(match[1])
