"""The sandbox itself: one application, served by uvicorn from a thread of its own."""

import errno
import secrets
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, get_args

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prisma_mgmt.sandbox.api import api_application
from prisma_mgmt.sandbox.oauth import LoginServer
from prisma_mgmt.sandbox.state import World
from prisma_mgmt.sandbox.tokens import Client, Personality, Tokens
from prisma_mgmt.sandbox.wire import ApiError

REDIRECT_URIS = (
    "http://localhost/callback",
    "http://localhost/auth/callback",
    "http://127.0.0.1/callback",
    "http://127.0.0.1/auth/callback",
    "http://[::1]/callback",
    "http://[::1]/auth/callback",
    "https://app.example/callback",
)


class Sandbox:
    """A local Prisma: the Management API and the login server on one port, from entering to leaving.

    It models workspaces, projects, databases and connections with what belongs to them; other routes answer 501.

    `strict` revokes a whole login when one of its refresh tokens is used twice; `grace` forgives one reuse within
    ten seconds. `token_lifetime` is in seconds, `clock` gives unix seconds.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        personality: Personality = "strict",
        auto_approve: bool = True,
        token_lifetime: float = 3600.0,
        revocation: bool = False,
        redirect_uris: Sequence[str] = REDIRECT_URIS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if personality not in get_args(Personality):
            raise ValueError(f"personality is strict or grace, not {personality!r}")
        if not 0 <= port <= 65535:
            raise ValueError(f"port is a number from 0 to 65535, not {port}")
        if token_lifetime <= 0:
            raise ValueError(f"token_lifetime is a number of seconds above 0, not {token_lifetime}")
        self.clock = clock
        self.client_id = "sandbox-app"
        self.confidential_client_id = "sandbox-web-app"
        self.client_secret = secrets.token_urlsafe(24)
        uris = tuple(redirect_uris)
        clients = [
            Client(self.client_id, "Sandbox app", uris),
            Client(self.confidential_client_id, "Sandbox web app", uris, self.client_secret),
        ]
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._world = World(clock)
        self._tokens = Tokens(self._world, personality, token_lifetime)
        self._name(port)
        self.workspace_id = self._world.create_workspace("Sandbox").id
        self.service_token = self.issue_service_token(self.workspace_id)
        login = LoginServer(self._world, self._tokens, clients, auto_approve, revocation)
        self.app = _application(self._world, self._tokens, login)

    @property
    def counts(self) -> Counter[str]:
        """What happened so far: authorize, exchange, refresh, refresh_refused, api, unauthenticated."""
        return self._world.counts

    def __enter__(self) -> Self:
        listener = _listen(self._host, self._port)
        self._name(listener.getsockname()[1])
        self._server = _Server(self.app, listener)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def expire_access_tokens(self) -> None:
        """Answer 401 to every access token that a login or refresh has given so far."""
        with self._world.lock:
            self._tokens.access_tokens.clear()

    def revoke_refresh_tokens(self) -> None:
        """Refuse every refresh token given so far; access tokens live on."""
        with self._world.lock:
            self._tokens.refresh_tokens.clear()

    def issue_service_token(self, workspace_id: str) -> str:
        """Give a service token for a workspace, such as one made with POST /v1/workspaces."""
        with self._world.lock:
            return self._tokens.issue_service_token(workspace_id)

    def _name(self, port: int) -> None:
        """Take the base URLs from the port; without one, for an in-process transport, they carry none."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.api_url = self._world.api_url = f"http://{host}:{port}" if port else f"http://{host}"
        self.auth_url = self._tokens.issuer = f"{self.api_url}/auth"


class _Server(uvicorn.Server):
    """Uvicorn in a thread of its own: there it serves callers on any event loop, or on none."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        # log_config=None: the caller's logging stays as it is.
        plain = uvicorn.Config(app, loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None)
        super().__init__(plain)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self.run, args=([listener],), name="prisma-sandbox", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self.should_exit = True
        self._thread.join()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in self.server_state.connections:
            connection.transport.abort()  # a client that is still sending would keep us waiting
        await super().shutdown(sockets)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on {host} is taken; choose another or leave it out for a free one"
        else:
            message = f"cannot listen on port {port} of {host}: {error.strerror}"
        raise OSError(message) from None


def _application(world: World, tokens: Tokens, login: LoginServer) -> Starlette:
    app = Starlette(
        routes=[
            *login.routes(),
            Mount("/postgres", api_application(world, tokens, "postgres")),
            Mount("/data-platform", api_application(world, tokens, "data_platform")),
        ],
        middleware=[Middleware(_RequestId)],
        exception_handlers={ApiError: _refuse, HTTPException: _refuse_route},
    )
    app.router.default = api_application(world, tokens, "management")  # what is none of the routes above
    return app


async def _refuse(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = ApiError(
        error.status_code, f"{request.method} {request.url.path} is not a route of this API."
    ).response()
    response.headers.update(error.headers or {})
    return response


class _RequestId:
    """Names every answer, as the real API does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = uuid.uuid4().hex
            await send(message)

        await self._app(scope, receive, send_named)
