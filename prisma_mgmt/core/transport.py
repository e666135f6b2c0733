"""The connection pool: a stack of single-connection httpx transports behind a fair semaphore.

httpx's own pool costs more the more calls wait in it, and keeps the slot of a cancelled one. Here a call takes the
connection that was used last, and one that was cut short is closed and forgotten.
"""

import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, TypeAlias, cast

import anyio
import httpx

from prisma_mgmt.core.proxies import proxy_for
from prisma_mgmt.core.wire import Answer, Body
from prisma_mgmt.errors import DecodeError, NetworkError, RequestTimeoutError
from prisma_mgmt.loops import LoopGuard

_KEEPALIVE = 30.0  # seconds
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE)
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LARGEST = 100_000_000  # bytes of an answer, packed or unpacked
_UNPACKED_AT_ONCE = 4096  # bytes, packed: a thousand times that is a lot, but no more
_READ_AHEAD = 65536  # bytes that httpcore reads at once
_Origin: TypeAlias = tuple[str, str, int | None, bool]  # scheme, host, port, whether for upgrades


class _Client(httpx.AsyncBaseTransport):
    """A user's httpx.AsyncClient seen as a transport: its hooks and proxies run, its auth and redirects do not."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["timeout"] = {}  # or the client's own would cut in before ours
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)


class _Connection(httpx.AsyncBaseTransport):
    """One connection of our own; it knows its socket, which httpcore forgets when a TLS handshake is cancelled."""

    def __init__(self, transport: httpx.AsyncBaseTransport, origin: _Origin) -> None:
        self._transport = transport
        self.origin = origin
        self._socket: Any = None
        self._extensions: dict[str, Any] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._extensions = request.extensions
        self._extensions["trace"] = self._watch
        return await self._transport.handle_async_request(request)

    async def _watch(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"]
        elif not event.startswith("connection."):  # it is made; to watch the rest would only take time
            self._extensions.pop("trace", None)

    async def aclose(self) -> None:
        await self._transport.aclose()
        if self._socket is not None:
            await self._socket.aclose()


class Stream:
    """A body that is still to come; it keeps its connection until it is closed, once."""

    live = False  # whether it takes a connection of its own, which is of no use afterwards

    def __init__(self, transport: "Transport", connection: httpx.AsyncBaseTransport, response: httpx.Response) -> None:
        self._transport = transport
        self._connection = connection
        self._response = response
        self._chunks = response.aiter_bytes()

    @staticmethod
    def ask(request: httpx.Request) -> None:
        """Add to a request what brings such a body."""

    async def read(self) -> bytes:
        """What comes next, b"" at the end. Raises NetworkError."""
        try:
            return await self._next()
        except httpx.RequestError as error:
            raise _network_error(error, self._response.request, self._response) from _bare(error)

    async def aclose(self) -> None:
        """Let go of the connection, and of what is left of the body."""
        try:
            await self._leave()
        finally:
            await self._transport.give_back(self._connection, self._response, usable=self._response.is_closed)

    async def _next(self) -> bytes:
        return await anext(self._chunks, b"")

    async def _leave(self) -> None:
        await _abandon(self._chunks)


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
        self._theirs = transport if http_client is None else _Client(http_client)
        self._max_connections = max_connections
        self._slots: anyio.Semaphore | None = None
        self._idle: list[tuple[float, _Connection]] = []  # since when; the last used comes last
        self._proxies: dict[_Origin, httpx.Proxy | None] = {}
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

    def leave(self) -> None:
        """Give a place back to whoever waits."""
        assert self._slots is not None  # as there is a place in it
        self._slots.release()

    async def send(
        self, request: httpx.Request, timeout: float | None, *, stream: type[Stream] | None = None
    ) -> Answer:
        """The answer, its body read; of a success only the head where a `stream` is asked for, the body being that.

        For callers that have a place. Raises NetworkError, and RequestTimeoutError after `timeout` seconds.
        """
        connection = response = answer = body = None
        usable = False
        try:
            connection = self._take(request.url, live=stream is not None and stream.live)
            with anyio.move_on_after(timeout):
                response = await connection.handle_async_request(request)
                response.request = request
                if stream is not None and (response.is_success or response.status_code == 101):
                    body = stream(self, connection, response)
                answer = Answer(
                    response.status_code, response.headers, await _body(response) if body is None else b"", body
                )
                usable = body is None
            if answer is None:
                raise RequestTimeoutError(f"no answer within {timeout} s", **_where(request, response))
        except httpx.RequestError as error:
            raise _network_error(error, request, response) from _bare(error)
        finally:
            if body is None:
                await self.give_back(connection, response, usable=usable)
        return answer

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
            self._proxies[origin] = proxy_for(url)
        http2 = self._http2 and not live  # which has no upgrades
        made = httpx.AsyncHTTPTransport(verify=self._ssl, limits=_ONE, http2=http2, proxy=self._proxies[origin])
        return _Connection(made, origin)

    async def give_back(
        self, connection: httpx.AsyncBaseTransport | None, response: httpx.Response | None, *, usable: bool
    ) -> None:
        """End a call: its place goes to the next one, and so does its connection where that is still usable."""
        spent = connection if isinstance(connection, _Connection) else None  # a transport of the user's stays open
        try:
            if usable and spent and not self._closed:
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


async def _body(response: httpx.Response) -> bytes:
    """The body, read whole and unpacked; past httpx's own readers, which take their time."""
    if response.is_closed:
        return response.content
    parts: list[Body] = []  # no raw bytes stay in a local, where a traceback would show them
    size = 0
    stream = aiter(cast("httpx.AsyncByteStream", response.stream))
    async for part in stream:
        size += len(part)
        parts.append(Body(part))
        del part
        if size > _LARGEST:
            await _abandon(stream)
            raise _too_long(response)
    await response.aclose()
    return b"".join(_unpacked(response, parts) if "content-encoding" in response.headers else parts)


class _Parts(httpx.SyncByteStream):
    def __init__(self, parts: list[Body]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            for i in range(0, len(part), _UNPACKED_AT_ONCE):
                yield part[i : i + _UNPACKED_AT_ONCE]


def _unpacked(response: httpx.Response, parts: list[Body]) -> Iterator[bytes]:
    size = 0
    for part in httpx.Response(200, headers=response.headers, stream=_Parts(parts)).iter_bytes():
        size += len(part)
        if size > _LARGEST:
            del part
            raise _too_long(response)
        yield part


def _too_long(response: httpx.Response) -> DecodeError:
    return DecodeError(
        f"an answer longer than {_LARGEST:,} bytes (status {response.status_code})",
        status=response.status_code,
        request_id=response.headers.get("x-request-id"),
    )


async def _abandon(chunks: AsyncIterator[bytes]) -> None:
    """Run httpx's generators to their end, for one that is dropped midway is left to the event loop.

    Where another task is reading them (RuntimeError), that reading ends with the connection.
    """
    with anyio.CancelScope() as scope, suppress(httpx.RequestError, RuntimeError):
        scope.cancel()
        skipped = 0
        while skipped < _READ_AHEAD and (chunk := await anext(chunks, b"")):
            skipped += len(chunk)


def _network_error(error: httpx.RequestError, request: httpx.Request, response: httpx.Response | None) -> NetworkError:
    kind = RequestTimeoutError if isinstance(error, httpx.TimeoutException) else NetworkError
    said, why = _text(error), error.__cause__ or error.__context__
    while not said and isinstance(why, Exception):  # httpcore maps some errors without their words
        said, why = _text(why), why.__cause__ or why.__context__
    message = f"{type(error).__name__}: {said}".removesuffix(": ")
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
