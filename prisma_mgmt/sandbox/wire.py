"""What goes over the wire: refusals in the words of the API or of OAuth, request bodies, cursors, and routes.

The APIs, the login server and the control routes are a Site each, an ASGI application of its own.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from prisma_mgmt.sandbox.description import is_list, is_object

MAX_BODY = 1024 * 1024
MAX_LIMIT = 100
MAX_DEPTH = 100
FORM = "application/x-www-form-urlencoded"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

_CODES = {
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
    """An answer other than success, in the form of whoever gives it; an ASGI application that gives it."""

    def __init__(self, status: int, message: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = JSONResponse(self.body, self.status, self.headers)
        if scope["type"] == "websocket":
            del response.headers["content-length"]  # uvicorn says it by itself, and its older releases would twice
        if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
            await response(scope, receive, send)
        else:
            await send({"type": "websocket.close"})


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
        headers = {**NO_STORE, "WWW-Authenticate": 'Basic realm="sandbox"'} if status == 401 else dict(NO_STORE)
        super().__init__(status, message, {"error": code, "error_description": message}, headers)


Refuse: TypeAlias = type[ApiError] | type[OAuthError]
T = TypeVar("T")


def need(value: T | None, refusal: RefusalError) -> T:
    """Give back what has to be there, or has to be true; refuse the request if it is not."""
    if not value:
        raise refusal
    return value


def missing(what: str) -> ApiError:
    return ApiError(404, f"{what} does not exist, or this token may not see it.")


def media_type(headers: Mapping[str, str]) -> str:
    """The type of a body without its parameters, an empty text if nobody says it."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, refuse: Refuse = ApiError) -> bytes:
    return b"".join([chunk async for chunk in read_chunks(request, MAX_BODY, refuse)])


async def read_chunks(request: Request, limit: int, refuse: Refuse = ApiError) -> AsyncIterator[bytes]:
    """A body as it comes, up to a number of bytes."""
    size = 0
    try:
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                need(size <= limit, refuse(413, f"The body is larger than {limit} bytes."))
                yield chunk
    except ClientDisconnect:
        raise refuse(400, "The client left before its body was complete.") from None


async def until_left(receive: Receive, then: Callable[[], object] = lambda: None) -> None:
    """Wait for the other side to leave, and do something then."""
    while not (await receive())["type"].endswith(".disconnect"):
        pass
    then()


def parse_json(body: bytes) -> Any:
    """Read JSON that can be stored and written again: finite, not too deep, and all of it text that has bytes."""
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # which half of a surrogate pair does not bear
        depth = _depth(value)
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not valid JSON.") from None
    need(depth <= MAX_DEPTH, ApiError(400, f"The body is nested deeper than {MAX_DEPTH} levels."))
    return value


def _depth(value: Any) -> int:
    inside = value.values() if is_object(value) else value if is_list(value) else ()
    return 1 + max(map(_depth, inside), default=0)


def write_cursor(place: int) -> str:
    return f"after:{place}"


def read_cursor(cursor: str, refusal: int) -> int:
    """The place that a cursor names; `refusal` is the status for one that this API did not give out."""
    hint = "Pass the nextCursor of the page before, or the cursor of a log's last record."
    refused = ApiError(refusal, "cursor is not one that this API gave out.", hint=hint)
    return int(need(re.fullmatch("after:([0-9]{1,18})", cursor, re.ASCII), refused)[1])


# Routes


@dataclass(frozen=True, slots=True)
class Route:
    """A method, a path such as /v1/projects/{id}, and what answers there."""

    method: str
    template: str
    answer: Callable[[Any], Awaitable[ASGIApp]]  # is given the Request, or the HTTPConnection of a WebSocket
    live: bool = False  # if it may be asked over a WebSocket, as a GET

    def fits(self, segments: Sequence[str]) -> bool:
        if self.template.count("/") != len(segments) - 1:
            return False
        pairs = zip(self.template.split("/"), segments, strict=True)
        return all(one == sent or (one[:1] == "{" and sent) for one, sent in pairs)


class Site:
    """Answers by its routes; what it refuses, it refuses in the form of `refuse`."""

    refuse: Refuse = ApiError

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes: Sequence[Route] = routes

    def find(self, path: str) -> dict[str, Route]:
        """The routes that a path leads to, by method: what is spelled out goes before a parameter."""
        segments = [unquote(one) for one in path.split("/")]  # each for itself: a quoted slash parts nothing
        fitting = sorted((it for it in self.routes if it.fits(segments)), key=lambda it: it.template.count("{"))
        return {it.method: it for it in fitting if it.template.count("{") == fitting[0].template.count("{")}

    def template_of(self, method: str, path: str) -> str | None:
        """The path as its route has it; None if there is no such route."""
        found = self.find(path).get(method)
        return None if found is None else found.template

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        live = scope["type"] == "websocket"
        connection = HTTPConnection(scope) if live else Request(scope, receive)
        try:
            response = await self._enter(connection, live).answer(connection)
        except RefusalError as refusal:
            response = refusal
        await response(scope, receive, send)

    def _enter(self, connection: HTTPConnection, live: bool) -> Route:
        """Find the route of a request, and tell the request its path parameters."""
        scope = connection.scope
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("latin-1").removeprefix(scope.get("root_path", ""))  # as it was sent
        methods = {method: it for method, it in self.find(path).items() if it.live or not live}
        method = scope.get("method", "GET").replace("HEAD", "GET")
        need(methods, self.refuse(404, f"{connection.url.path} is not a route here."))
        if method not in methods:
            refusal = self.refuse(405, f"{connection.url.path} is asked with {' or '.join(methods)}, not {method}.")
            refusal.headers["Allow"] = ", ".join(methods)
            raise refusal
        pairs = zip(methods[method].template.split("/")[::-1], path.split("/")[::-1], strict=False)
        scope["path_params"] = {name[1:-1]: unquote(value) for name, value in pairs if name[:1] == "{"}
        return methods[method]
