"""A part of the sandbox as an ASGI application: the APIs, the login server and the control routes are one each."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from prisma_mgmt.sandbox.wire import ApiError, OAuthError, RefusalError


@dataclass(frozen=True, slots=True)
class Route:
    """A method, a path such as /v1/projects/{id}, and what answers there."""

    method: str
    template: str
    answer: Callable[[Request], Awaitable[Response]]

    def fits(self, segments: Sequence[str]) -> bool:
        known = self.template.split("/")
        pairs = zip(known, segments, strict=False)
        return len(known) == len(segments) and all(one == sent or (one[:1] == "{" and sent) for one, sent in pairs)


class Site:
    """Answers by its routes; what it refuses, it refuses in the form of `refuse`."""

    refuse: type[ApiError] | type[OAuthError] = ApiError

    @cached_property
    def routes(self) -> Sequence[Route]:
        return ()

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
        if scope["type"] == "websocket":
            await self.follow(WebSocket(scope, receive, send))
            return
        try:
            request = Request(scope, receive)
            response = await self.enter(request, "GET" if request.method == "HEAD" else request.method).answer(request)
        except RefusalError as refusal:
            response = refusal.response()
        await response(scope, receive, send)

    def enter(self, connection: HTTPConnection, method: str) -> Route:
        """Find the route of a request, and tell the request its path parameters."""
        scope = connection.scope
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("latin-1").removeprefix(scope.get("root_path", ""))  # as it was sent
        methods = self.find(path)
        if method not in methods:
            there = f"; there is {' and '.join(methods)}" if methods else ""
            message = f"{method} {connection.url.path} is not a route here{there}."
            refusal = self.refuse(405 if methods else 404, message)
            refusal.headers.update({"Allow": ", ".join(methods)} if methods else {})
            raise refusal
        pairs = zip(methods[method].template.split("/")[::-1], path.split("/")[::-1], strict=False)
        scope["path_params"] = {name[1:-1]: unquote(value) for name, value in pairs if name[:1] == "{"}
        return methods[method]

    async def follow(self, socket: WebSocket) -> None:
        """Serve a WebSocket; only logs have one."""
        await socket.close()
