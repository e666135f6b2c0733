"""One HTTP/1.1 connection over asyncio; incoming.py reads its answers.

It is idle, or busy from `send` until its answer was read to the end, or closed:

    idle    send()                            -> busy
    busy    the answer was read to its end    -> idle, or closed if either side would not go on
    idle    any byte, or the peer's end       -> closed: nothing was asked
    busy    the peer's end, or nonsense       -> closed, and whoever waits has the error
    busy    whoever waits is cancelled        -> closed

It never switches to another protocol. On a new connection, what the server says before it is asked may be taken for the
answer: no connection can tell.
"""

import asyncio
import ssl
from collections.abc import Mapping
from select import POLLIN, poll  # not there on Windows, which therefore sends over httpx
from typing import Any, cast

import httpx

from prisma_mgmt.core.connection import Fields, Network, Origin, Request
from prisma_mgmt.core.dialing import dial
from prisma_mgmt.core.incoming import Headers, Incoming, NoAnswer
from prisma_mgmt.masks import SecretBytes

_HIGH_WATER = 262_144  # bytes that are read ahead of whoever reads
_WRITTEN_AT_ONCE = 262_144  # bytes
_BODIED = frozenset({"POST", "PUT", "PATCH"})  # which tell the length of their body, though they have none


class Http1(asyncio.Protocol):
    """One connection."""

    ours = True
    engine = "asyncio"
    made = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answer = Incoming()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # connection_made comes before anything else
        self._readable = poll()
        self._gone = loop.create_future()  # done when the connection is
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None  # while the transport takes no more
        self._fault: Exception | None = None
        self.busy: bool = False  # with a request, or with an answer that was not read to its end
        self._sent = False  # the request, whole
        self._closing = False
        self._paused = False  # what comes is left to the network

    # What the pool calls

    @classmethod
    async def connect(cls, origin: Origin, trusted: ssl.SSLContext | None) -> "Http1":
        """A new connection, sealed if the origin is https. Raises httpx.ConnectError."""
        loop = asyncio.get_running_loop()
        sealed: dict[str, Any] = {}
        if origin.scheme == "https":
            assert trusted is not None  # the engine gives certificates for https
            trusted.set_alpn_protocols(["http/1.1"])  # as httpx does; whoever shares the context may speak HTTP/2
            sealed = {"ssl": trusted, "server_hostname": origin.host.removesuffix(".")}
        try:
            connected = await dial(loop, origin.host, origin.port)
            _, made = await loop.create_connection(lambda: cls(loop), sock=connected, **sealed)
        except OSError as error:  # an ssl.SSLError is one
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        return made

    @property
    def reusable(self) -> bool:
        """The last answer was read to its end, and the peer has neither closed the connection nor said more."""
        if self.busy or self._closing or self._fault is not None:
            return False
        return not self._readable.poll(0)  # which knows what the event loop has not seen yet

    async def send(self, request: Request) -> "_Reply":
        """Send, and wait for the head of the answer. Raises httpx.ReadError or RemoteProtocolError."""
        answer = self._answer
        answer.begin(bodiless=request.method == "HEAD")
        self.busy = True
        await self._write(request)
        while not answer.has_head:
            await self._wait()
        return _Reply(self, answer.status, Headers(answer.pairs))

    async def read(self) -> bytes:
        """The next piece of the body as it came, b"" at its end. Raises httpx.ReadError or RemoteProtocolError."""
        answer = self._answer
        while not answer.unread and not answer.ended:
            await self._wait()
        part = answer.take()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if answer.ended:
            self.busy = False
            if not (answer.lives_on and self._sent):
                self.abort()
        return part

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._closing = True
        self._transport.abort()

    async def let_go(self) -> None:
        """Let go of what is left of an answer: if that is more than its end, the connection goes with it."""
        if self._answer.ended and not self._answer.unread:
            await self.read()
        if self.busy:
            self.abort()

    def dropped(self) -> None:
        """Close, for an answer was dropped before its end, and the event loop would keep the socket."""
        if not (self._closing or self._loop.is_closed()):
            self._loop.call_soon_threadsafe(self.abort)  # a collector runs in any thread

    async def aclose(self) -> None:
        """Close at once, and wait until the event loop has let go of the socket.

        TLS has a goodbye that waits for the other side's. A client that closes many connections would wait for each.
        """
        self.abort()
        if not self._gone.done():
            await asyncio.wait([self._gone])

    def __repr__(self) -> str:
        return f"<Http1 {'closed' if self._closing else 'busy' if self.busy else 'idle'}>"

    # Inside

    async def _write(self, request: Request) -> None:
        self._sent = False
        for piece in _written(request):
            if self._writable is not None and not self._answer.has_head:
                await self._writable
            if self._fault is not None or self._answer.has_head:
                return  # an early answer: nobody reads the rest of the request
            self._transport.write(piece)
        self._sent = True

    async def _wait(self) -> None:
        """Wait until something has come. Raises what has gone wrong: all that came before it was read."""
        if self._fault is not None:
            raise self._fault
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self._writable is not None and (self._fault is not None or self._answer.has_head):
            self._let_write()

    def _let_write(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _fail(self, fault: Exception) -> None:
        """End the connection, with an error for whoever waits."""
        if self._fault is None and not self._answer.ended:
            self._fault = fault
        self._answer.lives_on = False
        self.abort()
        self._wake()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of it
        self._readable.register(transport.get_extra_info("socket").fileno(), POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self._fail(httpx.RemoteProtocolError("the server said something that it was not asked"))
            return
        try:
            self._answer.feed(data)
        except NoAnswer as told:
            self._fail(httpx.RemoteProtocolError(str(told)))
        if self._answer.unread > _HIGH_WATER and not self._paused and not self._answer.ended:
            self._paused = True
            self._transport.pause_reading()
        if self._answer.has_head:
            self._wake()

    def eof_received(self) -> bool:
        self._closing = True
        if self.busy and self._fault is None:
            try:
                self._answer.eof()
            except NoAnswer as told:
                self._fail(httpx.RemoteProtocolError(str(told)))
            self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        if exc is not None:
            self._fail(httpx.ReadError(str(exc) or type(exc).__name__))
        self.eof_received()
        self._let_write()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self._let_write()
        self._writable = None


class _Reply:
    """An answer whose head has come."""

    __slots__ = ("_connection", "done", "headers", "status")
    network: Network | None = None

    def __init__(self, connection: Http1, status: int, headers: Headers) -> None:
        self._connection = connection
        self.done = False
        self.status = status
        self.headers: Mapping[str, str] = headers

    async def read(self) -> bytes:
        if self.done:  # the connection may be busy with another answer
            return b""
        part = await self._connection.read()
        self.done = not self._connection.busy
        return part

    async def aclose(self) -> None:
        if not self.done:
            self.done = True
            await self._connection.let_go()

    def __del__(self) -> None:
        if not self.done:
            self._connection.dropped()


def _written(request: Request) -> list[bytes | memoryview]:
    """A request in the pieces that it is written in: one if it is short."""
    body = request.body
    head = [request.method.encode(), b" ", request.target.encode(), b" HTTP/1.1\r\n", _joined(request.fields)]
    if body is not None or request.method in _BODIED:
        head.append(b"Content-Length: %d\r\n" % len(body or b""))
    if not body or len(body) <= _WRITTEN_AT_ONCE:
        return [SecretBytes(b"".join([*head, b"\r\n", body or b""]))]
    view = memoryview(body)
    parts = [view[i : i + _WRITTEN_AT_ONCE] for i in range(0, len(view), _WRITTEN_AT_ONCE)]
    return [SecretBytes(b"".join([*head, b"\r\n"])), *parts]


def _joined(fields: Fields) -> bytes:
    """The headers as they are sent, made once."""
    if not isinstance(fields.ready, SecretBytes):
        fields.ready = SecretBytes("".join([f"{name}: {value}\r\n" for name, value in fields.pairs]).encode("latin-1"))
    return fields.ready
