"""A part of the sandbox as an ASGI application: the APIs, the login server and the control routes are one each."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from prisma_mgmt.sandbox.wire import ApiError, OAuthError, RefusalError

Handler = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Handler]]  # by path and method


class Site:
    """Answers by a table of routes; what it refuses, it refuses in the form of `refuse`."""

    refuse: type[ApiError] | type[OAuthError] = ApiError

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self.follow(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        try:
            response = await self.answer(request)
        except RefusalError as refusal:
            response = refusal.response()
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        methods = self._routes.get(request.scope["path"].removeprefix(request.scope.get("root_path", "")), {})
        method = "GET" if request.method == "HEAD" else request.method  # the server leaves the body out
        if method not in methods:
            raise self.no_route(request, methods)
        return await methods[method](request)

    async def follow(self, socket: WebSocket) -> None:
        """Serve a WebSocket; only logs have one."""
        await socket.close()

    def no_route(self, request: Request, methods: Iterable[str]) -> RefusalError:
        there = f"; there is {' and '.join(methods)}" if methods else ""
        message = f"{request.method} {request.url.path} is not a route here{there}."
        refusal = self.refuse(405 if methods else 404, message)
        if methods:
            refusal.headers["Allow"] = ", ".join(methods)
        return refusal

    def template_of(self, method: str, path: str) -> str | None:
        """The route that a path leads to, such as /v1/projects/{id}; None if there is none."""
        return path if method in self._routes.get(path, {}) else None

    def routes(self) -> list[tuple[str, str]]:
        """Every method and path that there is."""
        return [(method, path) for path, methods in self._routes.items() for method in methods]
