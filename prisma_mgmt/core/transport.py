"""The connection pool: a stack of single-connection httpx transports behind a fair semaphore.

httpx's own pool costs more the more calls wait in it, and keeps the slot of a cancelled one. Here a call takes the
connection that was used last, and one that was cut short is closed and forgotten.
"""

import ssl
import time
import warnings
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, cast

import anyio
import httpx

from prisma_mgmt.core.connection import Connection, Origin, TheirClient
from prisma_mgmt.core.reading import Pieces, abandon, packed, read_whole
from prisma_mgmt.core.wire import Answer
from prisma_mgmt.environment import proxy_for
from prisma_mgmt.errors import NetworkError, RequestTimeoutError
from prisma_mgmt.faults import network_error
from prisma_mgmt.loops import LoopGuard

_KEEPALIVE = 30.0  # seconds
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE)


class Stream:
    """A body that is still to come; it keeps its connection until it is closed, once."""

    live = False  # whether it takes a connection of its own, which is of no use afterwards
    held = False  # whether a place is to be given back

    def __init__(self, transport: "Transport", connection: httpx.AsyncBaseTransport, response: httpx.Response) -> None:
        self._transport = transport
        self._connection = connection
        self._response = response
        self._packed = packed(response)
        if self._packed:
            response.stream = Pieces(cast("httpx.AsyncByteStream", response.stream))
        self._chunks = response.aiter_bytes()

    @staticmethod
    def ask(request: httpx.Request) -> None:
        """Add to a request what brings such a body."""

    async def read(self) -> bytes:
        """What comes next, b"" at the end. Raises NetworkError."""
        try:
            return await self._next()
        except Exception as error:  # not all that goes wrong below has a name of httpx's
            failed = _failure(error, self._connection, self._response.request, self._response)
            if failed is None:
                raise
        try:
            raise failed  # out here, where what went wrong is not its context
        finally:
            del failed  # which has this frame in its traceback

    async def aclose(self) -> None:
        """Let go of the connection, and of what is left of the body."""
        self.held = False
        try:
            await self._leave()
        finally:
            await self._transport.give_back(self._connection, self._response, usable=self._response.is_closed)

    async def _next(self) -> bytes:
        return await anext(self._chunks, b"")

    async def _leave(self) -> None:
        await abandon(self._chunks, coded=self._packed)

    def __del__(self) -> None:
        if self.held:  # the connection closes itself, the place does not
            with suppress(RuntimeError):  # in another thread or no event loop: whoever waits could not be woken
                self._transport.leave(checked=True)
            warnings.warn(
                "a log was left open: use it as `async with`, or call aclose()", ResourceWarning, stacklevel=2
            )


class Transport:
    """Sends requests, at most `max_connections` at a time, first come first served."""

    def __init__(
        self,
        *,
        max_connections: int = 100,
        transport: httpx.AsyncBaseTransport | None = None,
        http_client: httpx.AsyncClient | None = None,
        http2: bool = False,
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections}")
        if transport is not None and http_client is not None:
            raise ValueError("give transport= or http_client=, not both")
        if http2 and not (transport is None and http_client is None):
            raise ValueError("http2= is for the client's own connections; set it on your transport or http_client")
        if http2 and find_spec("h2") is None:
            raise ImportError("http2=True needs h2: install prisma-mgmt[http2]")
        self.monotonic = time.monotonic
        self._theirs = transport if http_client is None else TheirClient(http_client)
        self._max_connections = max_connections
        self._slots: anyio.Semaphore | None = None
        self._idle: list[tuple[float, Connection]] = []  # since when; the last used comes last
        self._proxies: dict[Origin, str | None] = {}
        self._http2 = http2
        self._ssl: ssl.SSLContext | None = None
        self._loop = LoopGuard("client")
        self._closed = False

    async def enter(self) -> bool:
        """Wait for a place, which `send` gives back, or else `leave`; whether it took any waiting."""
        self._loop.check()
        if self._slots is None:
            self._slots = anyio.Semaphore(self._max_connections, fast_acquire=True)
        try:
            self._slots.acquire_nowait()  # it is given away only where nobody waits
        except anyio.WouldBlock:
            await self._slots.acquire()
            return True
        return False

    def leave(self, *, checked: bool = False) -> None:
        """Give a place back to whoever waits; RuntimeError, where this is `checked`, in another event loop."""
        if checked:
            self._loop.check()
        assert self._slots is not None  # as there is a place in it
        self._slots.release()

    async def send(
        self, request: httpx.Request, timeout: float | None, *, stream: type[Stream] | None = None
    ) -> Answer:
        """The answer, its body read; of a success only the head where a `stream` is asked for, the body being that.

        For callers that have a place. Raises NetworkError, and RequestTimeoutError after `timeout` seconds.
        """
        connection = response = answer = body = None
        failed: NetworkError | None = None
        usable = False
        try:
            connection = self._take(request.url, live=stream is not None and stream.live)
            with anyio.move_on_after(timeout):
                response = await connection.handle_async_request(request)
                response.request = request
                if stream is not None and (response.is_success or response.status_code == 101):
                    body = stream(self, connection, response)
                answer = Answer(
                    response.status_code, response.headers, await read_whole(response) if body is None else b"", body
                )
                if body is None:
                    usable = True
                else:
                    body.held = True
            if answer is None:
                failed = RequestTimeoutError(f"no answer within {timeout} s", **_where(request, response))
        except Exception as error:  # not all that goes wrong below has a name of httpx's
            failed = _failure(error, connection, request, response)
            if failed is None:
                raise
        finally:
            if body is None:
                await self.give_back(connection, response, usable=usable)
        if answer is not None:
            return answer
        assert failed is not None  # as there is no answer
        try:
            raise failed  # out here, where what went wrong is not its context
        finally:
            del failed  # which has this frame in its traceback

    def _take(self, url: httpx.URL, *, live: bool = False) -> httpx.AsyncBaseTransport:
        if self._closed:
            raise RuntimeError("the client is closed")
        if self._theirs is not None:
            return self._theirs
        origin = url.scheme, url.host, url.port, live
        for i in range(len(self._idle) - 1, -1, -1):  # the last one, unless views have other origins
            if self._idle[i][1].origin == origin:
                return self._idle.pop(i)[1]
        if self._ssl is None:
            self._ssl = httpx.create_ssl_context()
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(str(url))
        http2 = self._http2 and not live  # which has no upgrades
        made = httpx.AsyncHTTPTransport(verify=self._ssl, limits=_ONE, http2=http2, proxy=self._proxies[origin])
        return Connection(made, origin)

    async def give_back(
        self, connection: httpx.AsyncBaseTransport | None, response: httpx.Response | None, *, usable: bool
    ) -> None:
        """End a call: its place goes to the next one, and so does its connection where that is still usable."""
        spent = connection if isinstance(connection, Connection) else None  # a transport of the user's stays open
        try:
            if usable and spent and not self._closed and spent.clean():
                now = self.monotonic()
                self._idle.append((now, spent))
                crowded = len(self._idle) > self._max_connections  # by other origins'
                expired = self._idle[0][0] + _KEEPALIVE < now  # one at a time keeps the number of idle ones in bounds
                spent = self._idle.pop(0)[1] if expired or crowded else None
            if spent or not usable:
                with anyio.CancelScope(shield=True):
                    if response is not None:
                        await response.aclose()
                    if spent:
                        await spent.aclose()
        finally:
            self.leave()

    async def aclose(self) -> None:
        """Close every connection, those in use when their calls end; a transport of the user's stays open.

        Raises RuntimeError in an event loop other than theirs.
        """
        self._closed = True
        if self._idle:
            self._loop.check()
        while self._idle:
            with anyio.CancelScope(shield=True):
                await self._idle.pop()[1].aclose()


def _failure(
    error: Exception,
    connection: httpx.AsyncBaseTransport | None,
    request: httpx.Request,
    response: httpx.Response | None,
) -> NetworkError | None:
    """What an error of sending or reading amounts to; None for one that is not the network's."""
    if isinstance(error, NetworkError):
        return None
    return network_error(error, ours=isinstance(connection, Connection), **_where(request, response))


def _where(request: httpx.Request, response: httpx.Response | None) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": str(request.url),
        "status": None if response is None else response.status_code,
        "request_id": None if response is None else response.headers.get("x-request-id"),
    }
