"""The connection pool: a stack of single-connection httpx transports behind a fair semaphore.

httpx's own pool costs more the more calls wait in it, and keeps the slot of a cancelled one. Here a call takes the
connection that was used last, and one that was cut short is closed and forgotten.
"""

import re
import ssl
import time
from contextlib import suppress
from typing import Any

import anyio
import httpx

from prisma_mgmt.core.wire import Answer
from prisma_mgmt.errors import NetworkError, RequestTimeoutError
from prisma_mgmt.loops import LoopGuard

_KEEPALIVE = 30.0  # seconds
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE)
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_READ_AHEAD = 65536  # bytes that httpcore reads at once


class _Client(httpx.AsyncBaseTransport):
    """A user's httpx.AsyncClient seen as a transport: its hooks and proxies run, its auth and redirects do not."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["timeout"] = {}  # or the client's own would cut in before ours
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)


class Stream:
    """A body that is still to come; it keeps its connection until it is closed, once."""

    def __init__(self, transport: "Transport", connection: httpx.AsyncBaseTransport, response: httpx.Response) -> None:
        self._transport = transport
        self._connection = connection
        self._response = response
        self._chunks = response.aiter_bytes()

    async def read(self) -> bytes:
        """What comes next, b"" at the end. Raises NetworkError."""
        try:
            return await anext(self._chunks, b"")
        except httpx.RequestError as error:
            raise _network_error(error, self._response.request, self._response) from _bare(error)

    async def aclose(self) -> None:
        """Let go of the connection, and of what is left of the body."""
        try:
            # httpx's generators are run to their end, for one that is dropped midway is left to the event loop. Where
            # another task is reading them (RuntimeError), that reading ends with the connection.
            with anyio.CancelScope() as scope, suppress(httpx.RequestError, RuntimeError):
                scope.cancel()
                skipped = 0
                while skipped < _READ_AHEAD and (chunk := await anext(self._chunks, b"")):
                    skipped += len(chunk)
        finally:
            await self._transport.give_back(self._connection, self._response, usable=self._response.is_closed)


class Transport:
    """Sends requests, at most `max_connections` at a time, first come first served."""

    def __init__(
        self,
        *,
        max_connections: int = 100,
        transport: httpx.AsyncBaseTransport | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections}")
        if transport is not None and http_client is not None:
            raise ValueError("give transport= or http_client=, not both")
        self.monotonic = time.monotonic
        self._theirs = transport if http_client is None else _Client(http_client)
        self._max_connections = max_connections
        self._slots: anyio.Semaphore | None = None
        self._idle: list[tuple[float, httpx.AsyncBaseTransport]] = []  # since when; the last used comes last
        self._ssl: ssl.SSLContext | None = None
        self._loop = LoopGuard("client")
        self._closed = False

    async def send(self, request: httpx.Request, timeout: float | None, *, stream: bool = False) -> Answer:
        """The answer, its body read; of a success only the head where `stream` is set, the body being its `stream`.

        Raises NetworkError, and RequestTimeoutError after `timeout` seconds from when a connection was free.
        """
        self._loop.check()
        if self._slots is None:
            self._slots = anyio.Semaphore(self._max_connections, fast_acquire=True)
        await self._slots.acquire()
        connection = response = None
        usable = handed_over = False
        try:
            connection = self._take()
            with anyio.move_on_after(timeout) as scope:
                response = await connection.handle_async_request(request)
                response.request = request
                handed_over = stream and response.is_success
                if not handed_over:
                    await response.aread()
                    usable = True
            if response is None or scope.cancelled_caught:
                raise RequestTimeoutError(f"no answer within {timeout} s", **_where(request, response))
            if handed_over:
                return Answer(response.status_code, response.headers, b"", Stream(self, connection, response))
            return Answer(response.status_code, response.headers, response.content)
        except httpx.RequestError as error:
            raise _network_error(error, request, response) from _bare(error)
        finally:
            if not handed_over:
                await self.give_back(connection, response, usable=usable)

    def _take(self) -> httpx.AsyncBaseTransport:
        if self._closed:
            raise RuntimeError("the client is closed")
        if self._theirs is not None:
            return self._theirs
        if self._idle:
            return self._idle.pop()[1]
        if self._ssl is None:
            self._ssl = httpx.create_ssl_context()
        return httpx.AsyncHTTPTransport(verify=self._ssl, limits=_ONE)

    async def give_back(
        self, connection: httpx.AsyncBaseTransport | None, response: httpx.Response | None, *, usable: bool
    ) -> None:
        """End a call: its place goes to the next one, and so does its connection where that is still usable."""
        spent = None if connection is self._theirs else connection
        try:
            if usable and spent and not self._closed:
                now = self.monotonic()
                self._idle.append((now, spent))
                expired = self._idle[0][0] + _KEEPALIVE < now  # one at a time keeps the number of idle ones in bounds
                spent = self._idle.pop(0)[1] if expired else None
            if spent or not usable:
                with anyio.CancelScope(shield=True):
                    if response is not None:
                        await response.aclose()
                    if spent:
                        await spent.aclose()
        finally:
            assert self._slots is not None  # the call has a place in it
            self._slots.release()

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


def _network_error(error: httpx.RequestError, request: httpx.Request, response: httpx.Response | None) -> NetworkError:
    kind = RequestTimeoutError if isinstance(error, httpx.TimeoutException) else NetworkError
    message = f"{type(error).__name__}: {_text(error)}".removesuffix(": ")
    return kind(message, unsent=isinstance(error, _UNSENT), **_where(request, response))


def _where(request: httpx.Request, response: httpx.Response | None) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": str(request.url),
        "status": None if response is None else response.status_code,
        "request_id": None if response is None else response.headers.get("x-request-id"),
    }


def _text(error: Exception) -> str:
    """What an error says, without the bytes that h11 quotes: they may be a token or a part of an answer."""
    return re.sub(r"\W*\b(bytearray\()?b['\"].*", "", str(error), flags=re.DOTALL)


def _bare(error: httpx.RequestError) -> httpx.RequestError:
    """`error` to be a cause: without the frames below us, whose locals hold requests and answers, secrets and all."""
    error.args = (_text(error),)
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
