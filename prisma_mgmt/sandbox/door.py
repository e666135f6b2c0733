"""What a request meets before the API that it asks for: the host check, the record, and faults on request."""

import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import NamedTuple

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prisma_mgmt.sandbox.faults import Fault, Faults, names_of
from prisma_mgmt.sandbox.oauth import OAuthError
from prisma_mgmt.sandbox.requests import LONGEST_BODY, RecordedRequest, masked_body, masked_headers, masked_query
from prisma_mgmt.sandbox.wire import ApiError

KEPT = 10_000  # requests; the oldest go first
PREFIXES = {"/postgres": "postgres", "/data-platform": "data_platform", "/auth": "login"}
OWN = "sandbox"  # the start page and the control routes: not recorded, and without faults
IN_PROCESS_HOST = "localhost"
_OAUTH_CODES = {
    400: "invalid_request",
    401: "invalid_client",
    429: "temporarily_unavailable",
    503: "temporarily_unavailable",
}
_TEST_CLIENT = "testserver"  # what Starlette's test client calls an application in its own process


class Place(NamedTuple):
    """Which part of the sandbox a path belongs to, and what that part calls it."""

    api: str
    prefix: str
    path: str

    @classmethod
    def of(cls, path: str) -> "Place":
        for prefix, api in PREFIXES.items():
            if path == prefix or path.startswith(prefix + "/"):
                return cls(api, prefix, path[len(prefix) :] or "/")
        if path.startswith("/.well-known/"):
            return cls("login", "", path)
        own = path in {"/", "/favicon.ico"} or path.startswith("/_sandbox/")
        return cls(OWN if own else "management", "", path)


class Exchange:
    """One request on its way through the sandbox, and what is known of it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, place: Place, route: str | None, at: float) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._place, self._route, self._at = place, route, at
        self._started = time.perf_counter()
        self._body = bytearray()
        self._status: int | None = None
        self._seconds = 0.0
        self.fault: str | None = None
        self.on_answer: Callable[[], object] = lambda: None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and len(self._body) <= LONGEST_BODY:
            self._body.extend(message.get("body", b"")[: LONGEST_BODY + 1])
        return message

    async def send(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start", "websocket.accept"}:
            self.end(message.get("status", 101))
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = uuid.uuid4().hex
            if self._scope["type"] == "websocket":
                del headers["content-length"]  # uvicorn says it by itself, and its older releases would say it twice
        elif message["type"] == "websocket.close" and self._status is None:
            self.end(403)
        await self._send(message)

    def end(self, status: int | None) -> None:
        """Note what was answered, before the caller can know."""
        self._status, self._seconds = status, time.perf_counter() - self._started
        self.on_answer()

    def record(self) -> RecordedRequest:
        headers = self._scope["headers"]
        return RecordedRequest(
            at=self._at,
            api=self._place.api,
            method=method_of(self._scope),
            path=self._scope["path"],
            route=self._route,
            query=masked_query(self._scope["query_string"].decode("latin-1")),
            headers=masked_headers(headers),
            body=masked_body(Headers(raw=headers).get("content-type", ""), bytes(self._body)),
            status=self._status,
            seconds=self._seconds,
            fault=self.fault,
        )


class Door:
    """The sandbox as one ASGI application."""

    def __init__(
        self,
        places: Mapping[str, ASGIApp],
        faults: Faults,
        host: str,
        clock: Callable[[], float],
        template_of: Callable[[str, str, str], str | None],
    ) -> None:
        self.kept: deque[Exchange] = deque(maxlen=KEPT)
        self.hang_up: Callable[[Scope], bool] | None = None  # cuts the connection of a request, if it knows it
        self.on_request: Callable[[RecordedRequest], object] | None = None
        self._places, self._faults = places, faults
        self._host, self._clock, self._template_of = host, clock, template_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        host = Headers(scope=scope).get("host", "")
        if not serves(self._host, host):
            message = f"The sandbox serves loopback names only, not {host!r}."
            await ApiError(421, message).response()(scope, receive, send)
            return
        place = Place.of(scope["path"])
        if place.api == OWN:
            await self._places[OWN](scope, receive, send)
        else:
            await self._exchange(place, scope, receive, send)

    async def _exchange(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        method = method_of(scope)
        route = self._template_of(place.api, method, place.path)
        exchange = Exchange(scope, receive, send, place, route, self._clock())
        exchange.on_answer = lambda: self.on_request and self.on_request(exchange.record())
        self.kept.append(exchange)
        prefixed = None if route is None else place.prefix + route
        for fault in self._faults.meet(names_of(method, scope["path"], place.path, route, prefixed)):
            exchange.fault = fault.kind
            if await self._happen(fault, place.api, scope, exchange):
                return
        await self._places[place.api]({**scope, "root_path": place.prefix}, exchange.receive, exchange.send)

    async def _happen(self, fault: Fault, api: str, scope: Scope, exchange: Exchange) -> bool:
        """Let a fault happen, and tell if that ended the request."""
        if fault.kind == "delay":
            await anyio.sleep(fault.seconds)
            return False
        await _read(exchange.receive)
        if fault.kind == "fail":
            answer = _refusal(api, fault.status, fault.code, "This failure was asked for (fault of the sandbox).")
            if fault.retry_after is not None:
                answer.headers["Retry-After"] = f"{fault.retry_after:g}"
            await answer(scope, exchange.receive, exchange.send)
            return True
        await self._cut(scope, exchange)
        return True

    async def _cut(self, scope: Scope, exchange: Exchange) -> None:
        if scope["type"] == "websocket":
            await exchange.send({"type": "websocket.accept"})  # cut off in the middle, as logs are
        exchange.end(None)
        if self.hang_up is None or not self.hang_up(scope):  # the caller is in our own process
            from prisma_mgmt.sandbox.clients import cut_off

            raise cut_off()
        while not (await exchange.receive())["type"].endswith(".disconnect"):
            pass


def method_of(scope: Scope) -> str:
    """The method; a WebSocket begins as a GET."""
    return str(scope.get("method", "GET"))


def serves(own: str, host: str) -> bool:
    """Tell if a Host header names this sandbox: a page elsewhere may have its own name lead here (DNS rebinding).

    Loopback names do, and what the sandbox was told to listen on. If it listens beyond loopback, so do addresses and
    names without a dot, such as a container's: nobody can register one.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.removeprefix("[").removesuffix("]").lower().rstrip(".")
    if name in {"localhost", _TEST_CLIENT, own} or name.endswith(".localhost"):
        return True
    address = _address(name)
    if address is not None and ip_address(address).is_loopback:
        return True
    return not is_loopback(own) and bool(name) and (address is not None or "." not in name)


def is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else ip_address(address).is_loopback


def _address(name: str) -> str | None:
    try:
        return str(ip_address(name))
    except ValueError:
        return None


def _refusal(api: str, status: int, code: str | None, message: str) -> Response:
    if api == "login":
        return OAuthError(code or _OAUTH_CODES.get(status, "server_error"), message, status).response()
    return ApiError(status, message, **({} if code is None else {"code": code})).response()


async def _read(receive: Callable[[], Awaitable[Message]]) -> None:
    """Read a body that nobody will look at, so that it is recorded."""
    read = 0
    while read <= LONGEST_BODY:
        message = await receive()
        read += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


async def _live(receive: Receive, send: Send) -> None:
    """Say yes to a server that asks us to start and to stop; there is nothing to do."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
