"""One HTTP/1.1 connection over asyncio; llhttp (httptools) reads its answers.

It is idle, or busy from `send` until an answer has ended, or closed:

    idle    send()                      -> busy
    busy    the answer ends             -> idle, or closed if the connection does not live on
    idle    any byte, the peer's end    -> closed: nothing was asked
    busy    the peer's end, nonsense    -> closed, and whoever waits has the error
    busy    whoever waits is cancelled  -> closed
"""

import asyncio
import select
import ssl
from collections.abc import Iterator
from typing import Any

import httptools
import httpx

from prisma_mgmt.masks import SecretBytes

_LONGEST_HEAD = 65_536  # bytes
_MOST_INTERIM = 32  # answers of 1xx before the one that counts
_HIGH_WATER = 262_144  # bytes that are read ahead of whoever reads a body as it comes
_WRITTEN_AT_ONCE = 262_144  # bytes
_GOODBYE = 1.0  # seconds for the other side to close, too


class Http1(asyncio.Protocol):
    """One connection. Its user is one call at a time."""

    engine = "asyncio"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # connection_made comes before anything else
        self._incoming = select.poll()
        self._gone = loop.create_future()  # done when the connection is
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None  # while the transport takes no more
        self._fault: Exception | None = None
        self._busy = False
        self._closing = False
        self._begin(whole=True, bodiless=False, largest=0)

    def _begin(self, *, whole: bool, bodiless: bool, largest: int) -> None:
        """Forget the last answer."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._whole = whole
        self._bodiless = bodiless
        self._largest = largest
        self._head_size = 0
        self._interim = 0
        self._sent = False
        self._has_head = False
        self._ended = False
        self._until_end = False  # if the body ends with the connection
        self._lives_on = False
        self._parts: list[bytes] = []
        self._size = 0
        self._expected: int | None = None
        self._paused = False

    # What the pool and the pipeline call

    @classmethod
    async def connect(cls, host: str, port: int, context: ssl.SSLContext | None = None) -> "Http1":
        """A new connection. Raises httpx.ConnectError."""
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"ssl": context, "server_hostname": host.removesuffix(".")} if context else {}
        if isinstance(loop, asyncio.BaseEventLoop):  # uvloop tries one address after the other
            options["happy_eyeballs_delay"] = 0.25
        try:
            _, made = await loop.create_connection(lambda: cls(loop), host, port, **options)
        except OSError as error:  # an ssl.SSLError is one
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        return made

    @property
    def usable(self) -> bool:
        """If a request may be sent: the peer has neither closed the connection nor said anything unasked."""
        if self._busy or self._closing or self._fault is not None:
            return False
        return not self._incoming.poll(0)  # which knows what the event loop has not seen yet

    async def send(
        self, head: bytes, body: bytes | None, *, whole: bool, bodiless: bool = False, largest: int = 100_000_000
    ) -> None:
        """Send a request and wait for its answer: for all of it, or for its head only unless it is wanted `whole`.

        bodiless: the answer has no body, whatever it says (HEAD). largest: bytes of a body that is wanted whole.
        Raises httpx.ReadError, WriteError or RemoteProtocolError.
        """
        self._begin(whole=whole, bodiless=bodiless, largest=largest)
        self._busy = True
        try:
            await self._write(head, body)
            while not (self._ended if whole else self._has_head):
                await self._wait()
        except BaseException:
            self.abort()
            raise
        self._rest()

    async def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises httpx.ReadError or RemoteProtocolError."""
        try:
            while not self._parts and not self._ended:
                await self._wait()
        except BaseException:
            self.abort()
            raise
        part, self._parts, self._size = SecretBytes(b"".join(self._parts)), [], 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._rest()
        return part

    def body(self) -> bytes:
        """The body of an answer that was wanted whole."""
        return b"".join(self._parts)

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._closing = True
        self._transport.abort()

    async def aclose(self) -> None:
        """Close, and wait a moment for the other side."""
        if not self._gone.done():
            self._closing = True
            self._transport.close()
            await asyncio.wait([self._gone], timeout=_GOODBYE)
            self._transport.abort()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self._closing else 'busy' if self._busy else 'idle'}>"

    # Inside

    def _rest(self) -> None:
        """Be idle again once an answer has ended and was read, or closed if the connection does not live on."""
        if self._ended and (self._whole or not self._parts):
            self._busy = False
            if not (self._lives_on and self._sent):
                self.abort()

    async def _write(self, head: bytes, body: bytes | None) -> None:
        for piece in _pieces(head, body):
            if self._writable is not None and not self._has_head:
                await self._writable
            if self._fault is not None or self._has_head:
                return  # an early answer: nobody reads the rest of the request
            self._transport.write(piece)
        self._sent = True

    async def _wait(self) -> None:
        """Wait until something has come; raise what went wrong."""
        if self._fault is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._fault is not None and not self._ended and (self._whole or not self._parts):
            raise self._fault

    def _wake(self) -> None:
        for waiter in (self._waiter, self._writable if self._fault is not None or self._has_head else None):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _fail(self, fault: Exception) -> None:
        """End the connection with an error for whoever waits."""
        if self._fault is None and not self._ended:
            self._fault = fault
        self._lives_on = False
        self._closing = True
        self._transport.abort()
        self._wake()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._incoming.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self._fail(httpx.RemoteProtocolError("the server said something unasked"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(_nonsense(error))
            return
        if not self._has_head:
            self._head_size += len(data)
            if self._head_size > _LONGEST_HEAD:
                self._fail(httpx.RemoteProtocolError("the head of the answer is too long"))
                return
        elif not self._whole and self._size > _HIGH_WATER and not self._paused and not self._ended:
            self._paused = True
            self._transport.pause_reading()
        if self._ended or (self._has_head and (not self._whole or self._writable is not None)):
            self._wake()

    def eof_received(self) -> bool:
        if self._busy and self._until_end:
            self._ended = True
            self._wake()
        elif self._busy and not self._ended:
            self._fail(httpx.RemoteProtocolError(self._cut()))
        self._lives_on = False
        self._closing = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if not self._gone.done():
            self._gone.set_result(None)
        if exc is not None:
            self._fail(httpx.ReadError(str(exc) or type(exc).__name__))
        else:
            self.eof_received()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _cut(self) -> str:
        """That an answer ended too early."""
        if not self._has_head:
            return "Server disconnected without sending a response."
        if self._expected is None:
            return "peer closed connection without sending complete message body (incomplete chunked read)"
        told = f"received {self._received} bytes, expected {self._expected}"
        return f"peer closed connection without sending complete message body ({told})"

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._ended:  # bytes beyond the answer: it is good, the connection is not
            raise httpx.RemoteProtocolError("the server sent more than the answer")
        self._received = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > _LONGEST_HEAD:  # trailers count too
            raise httpx.RemoteProtocolError("the head of the answer is too long")
        if not self._has_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            raise httpx.RemoteProtocolError("the answer is of another version of HTTP")
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        framed = self._bodiless or self.status in (204, 304)
        for name, value in self.headers:
            if name == b"content-length":
                framed, self._expected = True, int(value)
            elif name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise httpx.RemoteProtocolError("the answer has a transfer coding that is not known")
                framed = True
        self._has_head, self._until_end = True, not framed
        if self._bodiless:
            self._ended = True

    def on_body(self, data: bytes) -> None:
        if self._ended:
            return  # of an answer that has none
        self._parts.append(data)
        self._size += len(data)
        self._received += len(data)
        if self._whole and self._size > self._largest:
            raise TooLongError

    def on_message_complete(self) -> None:
        if not self._has_head:
            self._interim += 1
            if self.status == 101 or self._interim > _MOST_INTERIM:
                raise httpx.RemoteProtocolError("the server gives no answer, only that it is about to")
            self.headers.clear()
            return
        if not self._bodiless:
            self._ended = True
            self._lives_on = self._parser.should_keep_alive()


class TooLongError(Exception):
    """The body is longer than it may be."""


def _nonsense(error: Exception) -> Exception:
    """What our own callbacks said of an answer that is none, else what the parser says; neither quotes it."""
    said = error.__context__
    if isinstance(said, TooLongError | httpx.RemoteProtocolError):
        return said.with_traceback(None)
    return httpx.RemoteProtocolError(f"the answer is no HTTP: {error}")


def _pieces(head: bytes, body: bytes | None) -> Iterator[bytes | memoryview]:
    """The request as it is written: at once if it is short, a long body in pieces."""
    if not body:
        yield head
    elif len(body) <= _WRITTEN_AT_ONCE:
        yield head + body
    else:
        yield head
        view = memoryview(body)
        for i in range(0, len(view), _WRITTEN_AT_ONCE):
            yield view[i : i + _WRITTEN_AT_ONCE]
