"""What a request meets before the part of the sandbox that it asks for: the host check, the record, and faults."""

import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address

import anyio
import httpx
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from prisma_mgmt.sandbox.faults import Fault, meet, nearest
from prisma_mgmt.sandbox.requests import LONGEST_BODY, RecordedRequest, masked, masked_body, masked_query
from prisma_mgmt.sandbox.state import World
from prisma_mgmt.sandbox.wire import ApiError, Site, media_type, read_body, until_left

Teller = Callable[[RecordedRequest], object]
OWN = "sandbox"  # the start page and the control routes: not recorded, and without faults
PREFIXES = {"/postgres": "postgres", "/data-platform": "data_platform", "/auth": "login"}
PLACES = {**PREFIXES, "/.well-known": "login", "/": OWN, "/favicon.ico": OWN, "/_sandbox": OWN}
_TEST_CLIENT = "testserver"  # what Starlette's test client calls an application in its own process


def place_of(path: str) -> tuple[str, str]:
    """Which part of the sandbox a path belongs to, and under which prefix that part is served."""
    first = "/" + path.removeprefix("/").partition("/")[0]
    return PLACES.get(first, "management"), first if first in PREFIXES else ""


class Exchange:
    """Carries one request through the sandbox, and keeps what is told of it."""

    def __init__(self, receive: Receive, send: Send, told: RecordedRequest, tell: Teller) -> None:
        self.told: RecordedRequest = told
        self._receive, self._send, self._tell = receive, send, tell
        self._started = time.perf_counter()
        self._body = bytearray()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and len(self._body) <= LONGEST_BODY:
            self._body.extend(message.get("body", b"")[: LONGEST_BODY + 1])
        return message

    async def send(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start", "websocket.accept"}:
            self.end(message.get("status", 101))
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", uuid.uuid4().hex.encode())]
        elif message["type"] == "websocket.close" and self.told.status is None:
            self.end(403)
        await self._send(message)

    def end(self, status: int | None) -> None:
        """Note what was answered, before the caller can know."""
        body = masked_body(media_type(self.told.headers), bytes(self._body))
        self.told = replace(self.told, status=status, body=body, seconds=time.perf_counter() - self._started)
        self._tell(self.told)


class Door:
    """The sandbox as one ASGI application."""

    def __init__(self, host: str, world: World, sites: Mapping[str, Site]) -> None:
        self.faults: list[Fault] = []  # in the order in which they were asked for, those that have happened included
        self.kept: deque[Exchange] = deque(maxlen=10_000)  # the oldest go first
        self.hang_up: Callable[[Scope], bool] = lambda _: False  # cuts the connection of a request, if it knows it
        self.on_request: Teller = lambda _: None
        self._host, self._world, self._sites = host, world, sites

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await Router().lifespan(scope, receive, send)  # there is nothing to start
            return
        host = Headers(scope=scope).get("host", "")
        api, prefix = place_of(scope["path"])
        if not serves(self._host, host):
            await ApiError(421, f"The sandbox serves loopback names only, not {host!r}.")(scope, receive, send)
        elif api == OWN:
            await self._sites[OWN](scope, receive, send)
        else:
            await self._exchange(self._sites[api], api, {**scope, "root_path": prefix}, receive, send)

    async def _exchange(self, site: Site, api: str, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, prefix = scope.get("method", "GET"), scope["path"], scope["root_path"]  # a WebSocket is a GET
        below = path.removeprefix(prefix) or "/"
        route = site.template_of(method, below)
        query, headers = masked_query(scope["query_string"].decode("latin-1")), masked(dict(Headers(scope=scope)))
        told = RecordedRequest(self._world.clock(), api, method, path, route, query, headers)
        exchange = Exchange(receive, send, told, self.on_request)
        self.kept.append(exchange)
        with self._world:
            faults = meet(self.faults, method, path, below, route, route and prefix + route)
        for fault in faults:
            exchange.told = replace(exchange.told, fault=fault.kind)
            if fault.kind == "delay":
                await anyio.sleep(fault.seconds)
                continue
            if scope["type"] == "http":
                with suppress(ApiError):  # nobody will look at the body, but it is recorded
                    await read_body(Request(scope, exchange.receive))
            if fault.kind == "cut":
                await self._cut(scope, exchange)
            else:
                refusal = site.refuse(fault.status, "This failure was asked for (fault of the sandbox).", fault.code)
                if fault.retry_after is not None:
                    refusal.headers["Retry-After"] = f"{fault.retry_after:g}"
                await refusal(scope, exchange.receive, exchange.send)
            return
        await site(scope, exchange.receive, exchange.send)

    async def _cut(self, scope: Scope, exchange: Exchange) -> None:
        if scope["type"] == "websocket":
            await exchange.send({"type": "websocket.accept"})  # cut off in the middle, as logs are
        exchange.end(None)
        if not self.hang_up(scope):  # the caller is in our own process, and uses httpx
            raise httpx.ReadError("the connection was cut, as was asked of the sandbox")
        await until_left(exchange.receive)

    def ask(self, fault: Fault) -> Fault:
        """Let a fault happen from now on; ValueError for a route that the sandbox does not have: it never would.

        A route without a prefix may be one of any API.
        """
        method, _, path = fault.route.partition(" ")
        api, prefix = place_of(path)
        sites = [self._sites[api]] if prefix else [it for name, it in self._sites.items() if name != OWN]
        found = [it.template_of(method, path.removeprefix(prefix) or "/") for it in sites]
        exists = any(it and (prefix or path.startswith("/v1/") or not it.startswith("/v1/")) for it in found)
        if not exists and fault.route != "*":
            known = [f"{it.method} {prefix}{it.template}" for site in sites for it in site.routes]
            meant = f"{method} /v1{path}" if any(found) else nearest(fault.route, known)
            raise ValueError(f"there is no route {fault.route!r}" + (f"; did you mean {meant!r}?" if meant else ""))
        self.faults.append(fault)
        return fault


def serves(own: str, host: str) -> bool:
    """Tell if a Host header names this sandbox: a page elsewhere may have its own name lead here (DNS rebinding).

    Loopback names do, and what the sandbox was told to listen on. If it listens beyond loopback, so do addresses and
    names without a dot, such as a container's: nobody can register one.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.removeprefix("[").removesuffix("]").lower().rstrip(".")
    if name in {_TEST_CLIENT, own} or name.endswith(".localhost") or is_loopback(name):
        return True
    return not is_loopback(own) and bool(name) and ("." not in name or _is_address(name))


def is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False
