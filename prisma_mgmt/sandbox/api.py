"""The three APIs over ASGI: what a request has to pass before its operation is carried out, and what comes back."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import anyio
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from prisma_mgmt.sandbox import resources as resources  # each makes itself known
from prisma_mgmt.sandbox.checks import path_of, read_fields, read_parameters, segments_of
from prisma_mgmt.sandbox.description import Description, Operation
from prisma_mgmt.sandbox.engine import Call, envelope
from prisma_mgmt.sandbox.logs import Log, read
from prisma_mgmt.sandbox.resources.github import install
from prisma_mgmt.sandbox.resources.services import upload
from prisma_mgmt.sandbox.site import Site
from prisma_mgmt.sandbox.state import World
from prisma_mgmt.sandbox.tokens import SERVICE, Grant, Tokens
from prisma_mgmt.sandbox.wire import ApiError, missing, read_body

NDJSON = "application/x-ndjson"


class Link(NamedTuple):
    """A URL that an answer gives out, and that needs no token."""

    template: str
    serve: Callable[[World, Request, str], Awaitable[Response]]


LINKS: dict[tuple[str, ...], dict[str, Link]] = {  # by the beginning of their path, and by method
    ("uploads",): {"PUT": Link("/uploads/{deploymentId}", upload)},
    ("github", "install"): {"GET": Link("/github/install/{intentId}", install)},
}


class Application(Site):
    """An API that is carried out as its description says; the description is read when it is first asked for."""

    def __init__(self, world: World, tokens: Tokens, describe: Callable[[], Description]) -> None:
        self._world, self._tokens, self._describe = world, tokens, describe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._follow(WebSocket(scope, receive, send))
        else:
            await super().__call__(scope, receive, send)

    def template_of(self, method: str, path: str) -> str | None:
        found = self._find(segments_of(path)).get(method)
        return None if found is None else found.template

    def _find(self, segments: Sequence[str]) -> Mapping[str, Operation | Link]:
        """What a path leads to, by method."""
        description = self._describe()
        links = LINKS.get(tuple(segments[:-1]), {}) if description.api == "management" else {}
        return links or description.find(segments)

    async def answer(self, request: Request) -> Response:
        segments = segments_of(_path(request))
        methods = self._find(segments)
        if request.method not in methods:
            raise self.no_route(request, methods)
        found = methods[request.method]
        if isinstance(found, Link):
            return await found.serve(self._world, request, segments[-1])
        body = await read_body(request)
        with self._world:
            call = self._call(request, found, segments)
            call.body = read_fields(call, body)
            return self._respond(call, call.perform())

    def _respond(self, call: Call, result: Any) -> Response:
        if isinstance(result, Log):
            return StreamingResponse(_lines(self._world, result), media_type=NDJSON)
        status, shown = envelope(call, result)
        return Response(status_code=204) if status == 204 else JSONResponse(shown, status)

    def _call(self, connection: HTTPConnection, operation: Operation, segments: Sequence[str]) -> Call:
        """Find out who asks, and for what."""
        path, description = path_of(operation, segments), self._describe()
        base = str(connection.base_url).rstrip("/")
        grant, token = (Grant(SERVICE, ""), "") if operation.is_open else self._authenticate(connection)
        call = Call(self._world, self._tokens, description, operation, grant, token, base, path, {}, connection.headers)
        if not operation.is_open:
            call.look_up()
        call.query = read_parameters(call, connection.url.query)
        return call

    def _authenticate(self, connection: HTTPConnection) -> tuple[Grant, str]:
        self._world.counts["api"] += 1
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        grant = self._tokens.grant_of(token) if scheme.lower() == "bearer" else None
        if grant is None:
            self._world.counts["unauthenticated"] += 1
            raise ApiError(401, "The access token is missing, unknown or expired.")
        return grant, token

    async def _follow(self, socket: WebSocket) -> None:
        """Send a log as messages, one a record, until it is over or the other side leaves."""
        try:
            segments = segments_of(_path(socket))
            operation = self._describe().find(segments).get("GET")
            if operation is None or 101 not in operation.answers:
                raise missing(socket.url.path)
            with self._world:
                log = self._call(socket, operation, segments).perform()
        except ApiError as error:
            await _deny(socket, error)
            return
        await socket.accept()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with suppress(WebSocketDisconnect):
                    async for line in read(self._world, log, follow=True):
                        await socket.send_text(line)
                    await socket.close()
                tasks.cancel_scope.cancel()

            tasks.start_soon(send)
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
            tasks.cancel_scope.cancel()


def _path(connection: HTTPConnection) -> str:
    """The path below what the API is served under, as it was sent."""
    scope = connection.scope
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("latin-1").removeprefix(scope.get("root_path", ""))


async def _deny(socket: WebSocket, error: ApiError) -> None:
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(error.response())
    else:
        await socket.close()


async def _lines(world: World, log: Log) -> AsyncIterator[str]:
    async for line in read(world, log):
        yield f"{line}\n"
