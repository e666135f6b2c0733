"""The three APIs over ASGI: what a request has to pass before its operation is carried out, and what comes back."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from urllib.parse import unquote

import anyio
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from prisma_mgmt.sandbox import resources as resources  # each makes itself known
from prisma_mgmt.sandbox.checks import check_parameters, path_of, read_fields, read_query, segments_of
from prisma_mgmt.sandbox.description import Description, Operation, describe
from prisma_mgmt.sandbox.engine import Call, envelope
from prisma_mgmt.sandbox.logs import Log, read
from prisma_mgmt.sandbox.resources.deployments import upload
from prisma_mgmt.sandbox.resources.github import install
from prisma_mgmt.sandbox.state import Thing, World
from prisma_mgmt.sandbox.tokens import Principal, Tokens
from prisma_mgmt.sandbox.wire import ApiError, missing, read_body

NDJSON = "application/x-ndjson"
# The URLs that answers give out besides, by the beginning of their path: the method, and the route.
LINKS: dict[tuple[str, ...], tuple[str, str]] = {
    ("uploads",): ("PUT", "/uploads/{deploymentId}"),
    ("github", "install"): ("GET", "/github/install/{intentId}"),
}


def template_of(api: str, method: str, path: str) -> str | None:
    """The route that a path leads to, such as /v1/projects/{id}; None if there is none."""
    segments = [unquote(segment) for segment in path.split("/")[1:]]
    operation = describe(api).find(segments).get(method)
    if operation is not None:
        return operation.template
    known, template = LINKS.get(tuple(segments[:-1]), ("", ""))
    return template if known == method and api == "management" else None


class Application:
    """An API that is carried out as its description says; the description is read when it is first asked for."""

    def __init__(self, world: World, tokens: Tokens, describe: Callable[[], Description]) -> None:
        self._world, self._tokens, self._describe = world, tokens, describe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._follow(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ApiError as error:
            response = error.response()
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        segments = segments_of(request)
        methods = self._describe().find(segments)
        if tuple(segments[:-1]) in LINKS:
            return await self._link(request, segments[-1], LINKS[tuple(segments[:-1])][0])
        operation = methods.get(request.method)
        if operation is None:
            return _no_route(request, list(methods))
        body = await read_body(request)
        with self._world.lock:
            call = self._call(request, operation, segments)
            check_parameters(call)
            call.query = read_query(call, request.url.query)
            call.body = read_fields(call, body)
            result = call.perform()
            if isinstance(result, Response):
                return result
            if isinstance(result, Log):
                return StreamingResponse(_lines(self._world, result), media_type=NDJSON)
            status, shown = envelope(call, result)
        return Response(status_code=204) if status == 204 else JSONResponse(shown, status)

    async def _link(self, request: Request, id: str, method: str) -> Response:
        """Serve a URL that an answer gave out, which needs no token."""
        if request.method != method:
            return _no_route(request, [method])
        return await upload(self._world, request, id) if method == "PUT" else install(self._world, id)

    def _call(self, connection: HTTPConnection, operation: Operation, segments: Sequence[str]) -> Call:
        """Find out who asks, and for what."""
        path, description = path_of(operation, segments), self._describe()
        base = str(connection.base_url).rstrip("/")
        principal, token = (Principal(""), "") if operation.is_open else self._authenticate(connection)
        call = Call(
            self._world, self._tokens, description, operation, principal, token, base, path, {}, connection.headers
        )
        for parameter, kind in () if operation.is_open else operation.lookups:
            call.target = self._look_up(call, kind, path[parameter])
        database = call.target and call.target.up("databases")
        if database is not None:  # what is asked about a database is what it is used for here
            used, today = database.hidden["used"], self._world.now()[:10]
            used[today] = used.get(today, 0) + 1
        return call

    def _authenticate(self, connection: HTTPConnection) -> tuple[Principal, str]:
        self._world.counts["api"] += 1
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        principal = self._tokens.principal(token) if scheme.lower() == "bearer" else None
        if principal is None:
            self._world.counts["unauthenticated"] += 1
            raise ApiError(401, "The access token is missing, unknown or expired.")
        return principal, token

    def _look_up(self, call: Call, kind: str, id: str) -> Thing | None:
        if kind == "integrations" and call.target is not None:  # there they go by the id of their client
            inside = call.every(kind, call.target)
            id = next((it.id for it in inside if it.values["clientId"] == id), id)
        try:
            return call.find(kind, id, inside=call.target)
        except ApiError:
            if call.lists and 404 not in call.operation.errors:
                return None  # the description knows no such refusal: the list is empty
            raise

    async def _follow(self, socket: WebSocket) -> None:
        """Send a log as messages, one a record, until it is over or the other side leaves."""
        try:
            segments = segments_of(socket)
            operation = self._describe().find(segments).get("GET")
            if operation is None or 101 not in operation.answers:
                raise missing(socket.url.path)
            with self._world.lock:
                call = self._call(socket, operation, segments)
                call.query = read_query(call, socket.url.query)
                log = call.perform()
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


async def _deny(socket: WebSocket, error: ApiError) -> None:
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(error.response())
    else:
        await socket.close()


async def _lines(world: World, log: Log) -> AsyncIterator[str]:
    async for line in read(world, log):
        yield f"{line}\n"


def _no_route(request: Request, methods: Sequence[str]) -> Response:
    what = f"{request.method} {request.url.path}"
    if not methods:
        return ApiError(404, f"{what} is not a route of this API.").response()
    response = ApiError(405, f"{what} is not a route of this API; there is {' and '.join(methods)}.").response()
    response.headers["Allow"] = ", ".join(methods)
    return response
