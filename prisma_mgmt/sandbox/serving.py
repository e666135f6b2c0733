"""A loopback socket: the sandbox, served by uvicorn from a thread of its own."""

import asyncio
import errno
import socket
import threading
from contextlib import suppress
from importlib.util import find_spec

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected


class Server(uvicorn.Server):
    """Uvicorn in a thread of its own: there it serves callers on any event loop, or on none.

    It starts and stops within milliseconds, since tests make one each: uvicorn itself looks ten times a second only.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        # log_config=None: the caller's logging stays as it is. proxy_headers: nobody says for others who they are.
        sockets = "websockets-sansio" if find_spec("websockets") else "none"
        config = uvicorn.Config(
            _quiet(app), loop="asyncio", http="h11", ws=sockets, lifespan="off", log_config=None, proxy_headers=False
        )
        super().__init__(config)
        self._listener = listener
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prisma-sandbox", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if not self.started:
            raise RuntimeError("the sandbox's server did not start; its thread has told why")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()

    def hang_up(self, scope: Scope) -> bool:
        """Cut the connection that a request came over; False if it did not come over one of ours."""
        client = scope.get("client")
        ours = [one for one in self.server_state.connections if client and getattr(one, "client", None) == client]
        for connection in ours:
            connection.transport.abort()
        return bool(ours)

    def _run(self) -> None:
        try:
            self.run([self._listener])
        finally:
            self._ready.set()  # whoever waits learns that it failed

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        self._ready.set()

    async def main_loop(self) -> None:
        await self._leave.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  # uvicorn's signature
        """Leave at once: a client that is still sending, or waits for a delayed answer, would keep us waiting."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # the connections learn that they are lost
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on {host} is taken; choose another or leave it out for a free one"
        else:
            message = f"cannot listen on port {port} of {host}: {error.strerror}"
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
