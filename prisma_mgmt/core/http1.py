"""One HTTP/1.1 connection over asyncio; llhttp (httptools) reads its answers.

It is idle, or busy from `send` until its answer was read to the end, or closed:

    idle    send()                            -> busy
    busy    the answer was read to its end    -> idle, or closed if either side would not go on
    idle    any byte, or the peer's end       -> closed: nothing was asked
    busy    the peer's end, or nonsense       -> closed, and whoever waits has the error
    busy    whoever waits is cancelled        -> closed
    busy    101, if it was asked for          -> a bare connection, up to its end
"""

import asyncio
import re
import ssl
from collections.abc import Iterator, Mapping
from select import POLLIN, poll  # not there on Windows, which therefore sends over httpx
from typing import Any, cast

import httptools
import httpx

from prisma_mgmt.core.connection import Fields, Network, Origin, Request
from prisma_mgmt.core.dialing import dial
from prisma_mgmt.masks import SecretBytes

_LONGEST_HEAD = 65_536  # bytes
_MOST_INTERIM = 32  # answers of 1xx before the one that counts
_HIGH_WATER = 262_144  # bytes that are read ahead of whoever reads
_WRITTEN_AT_ONCE = 262_144  # bytes
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9112 §4
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})


class Headers(Mapping[str, str]):
    """The headers of an answer, by names in any case; those that came more than once are joined by commas."""

    __slots__ = ("_found", "_pairs")

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs
        self._found: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._found is None:
            self._found = {}
            for name, value in self._pairs:
                key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
                self._found[key] = f"{self._found[key]}, {text}" if key in self._found else text
        return self._found

    def __getitem__(self, name: str) -> str:
        return self._all()[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"  # one may be a cookie


class Http1(asyncio.Protocol):
    """One connection."""

    ours = True
    engine = "asyncio"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # connection_made comes before anything else
        self._incoming = poll()
        self._gone = loop.create_future()  # done when the connection is
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None  # while the transport takes no more
        self._fault: Exception | None = None
        self.busy: bool = False  # with a request, or with an answer that was not read to its end
        self._closing = False
        self._begin(bodiless=False, upgrades=False)

    def _begin(self, *, bodiless: bool, upgrades: bool) -> None:
        """Forget the last answer."""
        self._status = 0
        self._pairs: list[tuple[bytes, bytes]] = []
        self._bodiless = bodiless
        self._upgrades = upgrades
        self._upgraded = False
        self._sent = False  # the request, whole
        self._head_size = 0  # of its headers and trailers
        self._before_head = 0  # bytes that came before the head was whole
        self._interim = 0
        self._has_head = False
        self._ended = False
        self._until_end = False  # the body ends with the connection
        self._lives_on = False
        self._parts: list[bytes] = []
        self._unread = 0
        self._received = 0
        self._expected: int | None = None
        self._paused = False

    # What the pool calls

    @classmethod
    async def connect(cls, origin: Origin, trusted: ssl.SSLContext | None) -> "Http1":
        """A new connection, sealed if the origin is https. Raises httpx.ConnectError."""
        loop = asyncio.get_running_loop()
        sealed: dict[str, Any] = {}
        if origin.scheme == "https":
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
        return not self._incoming.poll(0)  # which knows what the event loop has not seen yet

    async def send(self, request: Request) -> "_Reply":
        """Send, and wait for the head of the answer. Raises httpx.ReadError or RemoteProtocolError."""
        self._begin(bodiless=request.method == "HEAD", upgrades=request.fields.upgrade)
        self.busy = True
        await self._write(request)
        while not self._has_head:
            await self._wait()
        return _Reply(self, self._status, Headers(self._pairs))

    async def read(self) -> bytes:
        """The next piece of the body as it came, b"" at its end. Raises httpx.ReadError or RemoteProtocolError."""
        while not self._parts and not self._ended:
            await self._wait()
        part, self._parts, self._unread = b"".join(self._parts), [], 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._ended:
            self.busy = False
            if not (self._lives_on and self._sent):
                self.abort()
        return part

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._closing = True
        self._transport.abort()

    async def let_go(self) -> None:
        """Let go of what is left of an answer: if that is more than its end, the connection goes with it."""
        if self._ended and not self._parts:
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

    async def write(self, data: bytes) -> None:
        """Write, once the transport takes more."""
        if self._writable is not None:
            await self._writable
        if self._fault is not None:
            raise self._fault
        self._transport.write(data)

    async def _write(self, request: Request) -> None:
        for piece in _written(request):
            if self._writable is not None and not self._has_head:
                await self._writable
            if self._fault is not None or self._has_head:
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
        if self._writable is not None and not self._writable.done() and (self._fault is not None or self._has_head):
            self._writable.set_result(None)

    def _fail(self, fault: Exception) -> None:
        """End the connection, with an error for whoever waits."""
        if self._fault is None and not self._ended:
            self._fault = fault
        self._lives_on = False
        self.abort()
        self._wake()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of it
        self._incoming.register(transport.get_extra_info("socket").fileno(), POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            self._keep(data)
        elif not self.busy:
            self._fail(httpx.RemoteProtocolError("the server said something that it was not asked"))
        else:
            self._parse(data)
        if self._unread > _HIGH_WATER and not self._paused and not self._ended:
            self._paused = True
            self._transport.pause_reading()
        if self._has_head:
            self._wake()

    def _parse(self, data: bytes) -> None:
        if not self._before_head and not self._has_head and data[:1] != b"H":  # llhttp skips empty lines
            self._fail(httpx.RemoteProtocolError("the answer is no HTTP: it begins with something else"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._has_head = self._upgraded = True
            if rest := data[upgrade.args[0] :]:
                self._keep(rest)
        except httptools.HttpParserError as error:
            self._fail(_nonsense(error))
        else:
            if not self._has_head:
                self._before_head += len(data)
                if self._before_head > _LONGEST_HEAD:
                    self._fail(httpx.RemoteProtocolError("the head of the answer is too long"))

    def _keep(self, data: bytes) -> None:
        self._parts.append(data)
        self._unread += len(data)
        self._received += len(data)

    def eof_received(self) -> bool:
        if self.busy and self._fault is None and (self._until_end or self._upgraded):
            self._ended = True
            self._wake()
        elif self.busy and not self._ended:
            self._fail(httpx.RemoteProtocolError(self._cut()))
        self._lives_on = False
        self._closing = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        if exc is not None:
            self._fail(httpx.ReadError(str(exc) or type(exc).__name__))
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
        short = "peer closed connection without sending complete message body"
        if self._expected is None:
            return f"{short} (incomplete chunked read)"
        return f"{short} (received {self._received} bytes, expected {self._expected})"

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._ended:  # the answer is good, the connection is not
            raise httpx.RemoteProtocolError("the server sent more than the answer")

    def on_status(self, reason: bytes) -> None:
        if not _REASON.fullmatch(reason):  # llhttp lets a NUL pass
            raise httpx.RemoteProtocolError("the status line holds what no line may hold")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > _LONGEST_HEAD:  # trailers count too
            raise httpx.RemoteProtocolError("the head of the answer is too long")
        if not self._has_head:
            self._pairs.append((name, value))

    def on_headers_complete(self) -> None:
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            raise httpx.RemoteProtocolError("the answer is of another version of HTTP")
        self._status = self._parser.get_status_code()
        if self._status < 100:
            raise httpx.RemoteProtocolError("the answer has a status that is none")
        if self._status == 101 and not self._upgrades:
            raise httpx.RemoteProtocolError("the server switches to another protocol, which it was not asked for")
        if self._status < 200:
            return
        framed = self._bodiless or self._status in (204, 304)
        for name, value in self._pairs:
            match name.lower():
                case b"content-length":
                    framed, self._expected = True, int(value)
                case b"transfer-encoding":
                    if value.strip().lower() != b"chunked":
                        raise httpx.RemoteProtocolError("the answer has a transfer coding that is not known")
                    framed = True
                case _:
                    pass
        self._has_head, self._until_end = True, not framed
        self._ended = self._bodiless

    def on_body(self, data: bytes) -> None:
        if not self._ended:  # or it belongs to an answer that has none
            self._keep(data)

    def on_message_complete(self) -> None:
        if self._has_head and not self._bodiless:
            self._ended = True
            self._lives_on = self._parser.should_keep_alive()
        elif not self._has_head and self._status != 101:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise httpx.RemoteProtocolError("the server gives no answer, only that it is about to")
            self._pairs.clear()


class _Reply:
    """An answer whose head has come."""

    __slots__ = ("_connection", "done", "headers", "status")

    def __init__(self, connection: Http1, status: int, headers: Headers) -> None:
        self._connection = connection
        self.done = False
        self.status = status
        self.headers: Mapping[str, str] = headers

    @property
    def network(self) -> Network | None:
        return self._connection if self.status == 101 else None

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


def _nonsense(error: Exception) -> Exception:
    """What our own callbacks said of an answer that is none, else what the parser says; neither quotes it."""
    said = error.__context__
    if isinstance(said, httpx.RemoteProtocolError):
        return said.with_traceback(None)
    return httpx.RemoteProtocolError(f"the answer is no HTTP: {error}")


def _written(request: Request) -> Iterator[bytes | memoryview]:
    """A request as it is written: at once if it is short, a long body in pieces."""
    body = request.body
    head = [request.method.encode(), b" ", request.target.encode(), b" HTTP/1.1\r\n", _joined(request.fields)]
    if body is not None or request.method not in _BODILESS:
        head.append(b"Content-Length: %d\r\n" % len(body or b""))
    if not body or len(body) <= _WRITTEN_AT_ONCE:
        yield SecretBytes(b"".join([*head, b"\r\n", body or b""]))
        return
    yield SecretBytes(b"".join([*head, b"\r\n"]))
    view = memoryview(body)
    for i in range(0, len(view), _WRITTEN_AT_ONCE):
        yield view[i : i + _WRITTEN_AT_ONCE]


def _joined(fields: Fields) -> bytes:
    """The headers as they are sent, made once."""
    if not isinstance(fields.ready, SecretBytes):
        fields.ready = SecretBytes("".join([f"{name}: {value}\r\n" for name, value in fields.pairs]).encode("latin-1"))
    return fields.ready
