"""A loopback socket: the sandbox, served by uvicorn from a thread of its own."""

import asyncio
import errno
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn
from anyio.from_thread import start_blocking_portal
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected


@contextmanager
def serving(app: ASGIApp, host: str, port: int) -> "Generator[Server, None, None]":
    """Serve an application from a thread of its own, to callers on any event loop or on none."""
    with listen(host, port) as listener, start_blocking_portal() as portal:
        server = Server(app, listener.getsockname()[1])
        portal.call(server.startup, [listener])
        try:
            yield server
        finally:
            portal.call(server.leave)


class Server(uvicorn.Server):
    """Uvicorn, but it starts and stops within milliseconds, since tests make one each."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        # log_config=None: the caller's logging stays as it is. proxy_headers: nobody says for others who they are.
        config = uvicorn.Config(
            _quiet(app), http="h11", ws="websockets-sansio", lifespan="off", log_config=None, proxy_headers=False
        )
        super().__init__(config)
        config.load()
        self.lifespan: Any = config.lifespan_class(config)
        self.port: int = port

    async def leave(self) -> None:
        """Leave at once: a client that is still sending, or waits for a delayed answer, would keep us waiting."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def hang_up(self, scope: Scope) -> bool:
        """Cut the connection that a request came over; False if it did not come over one of ours."""
        client = scope.get("client")
        ours = [one for one in self.server_state.connections if client and getattr(one, "client", None) == client]
        for connection in ours:
            connection.transport.abort()
        return bool(ours)


def listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        message = f"cannot listen on port {port} of {host}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on {host} is taken; choose another or leave it out for a free one"
        raise OSError(message) from None
    # asyncio turns off Nagle's algorithm only for sockets that name their protocol; without, each answer takes 40 ms.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, listener.detach())


def _quiet(app: ASGIApp) -> ASGIApp:
    """The application, without what uvicorn would log as its failure.

    That is a request that is cancelled at the end, and a WebSocket that is refused with an answer.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(asyncio.CancelledError):
            await app(scope, receive, send)
        if scope["type"] == "websocket":
            raise ClientDisconnected

    return serve
