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
from select import POLLIN, poll  # not there on Windows, which therefore sends over httpx
from typing import Any, cast

from attrs import define, field

from prisma_mgmt.core.connection import BODIED, Origin, Reply, Request
from prisma_mgmt.core.dialing import dial
from prisma_mgmt.core.incoming import Incoming, NoAnswer
from prisma_mgmt.masks import SecretBytes

_HIGH_WATER = 262_144  # bytes that are read ahead of whoever reads
_WRITTEN_AT_ONCE = 262_144  # bytes


class Http1(asyncio.Protocol):
    """One connection."""

    ours = True
    engine = "asyncio"
    made = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.answer: Incoming = Incoming()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # connection_made comes before anything else
        self._readable = poll()
        self._gone = asyncio.Event()  # set once the connection is
        self._waiter: asyncio.Future[None] | None = None
        self._full = False  # the transport takes no more
        self._fault: Exception | None = None
        self.idle: bool = True
        self.busy: bool = False  # with a request, or with an answer that was not read to its end; neither: it is closed
        self._sent = False  # the request, whole
        self._paused = False  # what comes is left to the network

    # What the pool calls

    @classmethod
    async def connect(cls, origin: Origin, trusted: ssl.SSLContext) -> "Http1":
        """A new connection, for https sealed by the certificates that are `trusted`. Raises httpx.ConnectError."""
        loop = asyncio.get_running_loop()
        sealed: dict[str, Any] = {}
        if origin.scheme == "https":
            trusted.set_alpn_protocols(["http/1.1"])  # as httpx does; whoever shares the context may speak HTTP/2
            sealed = {"ssl": trusted, "server_hostname": origin.host.removesuffix(".")}
        try:
            connected = await dial(loop, origin.host, origin.port)
            _, made = await loop.create_connection(lambda: cls(loop), sock=connected, **sealed)
        except OSError as error:  # an ssl.SSLError is one
            raise _fault("ConnectError", str(error) or type(error).__name__) from error
        return made

    @property
    def reusable(self) -> bool:
        """It is idle, and its socket holds nothing that the event loop has not seen yet."""
        return self.idle and not self._readable.poll(0)

    async def send(self, request: Request) -> "_Reply":
        """Send, and wait for the head of the answer. Raises httpx.ReadError or RemoteProtocolError."""
        answer = self.answer
        answer.bodiless = request.method == "HEAD"
        self.busy, self.idle, self._sent = True, False, False
        for number, piece in enumerate(_written(request)):
            if number > 0:  # the event loop sees what has come, such as an early answer, and reads it in its next step
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            while self._full and answer.headers is None:
                await self._wait()
            if self._fault is not None or answer.headers is not None:
                break  # nobody reads the rest of the request
            self._transport.write(piece)
        else:
            self._sent = True
        while answer.headers is None:
            await self._wait()
        reply = _Reply(answer.status, answer.headers, connection=self)
        if answer.ended:
            reply.content, reply.done = self._rest(), True
        return reply

    async def read(self) -> bytes:
        """The next piece of the body as it came, b"" at its end. Raises httpx.ReadError or RemoteProtocolError."""
        answer = self.answer
        while not answer.unread and not answer.ended:
            await self._wait()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return self._rest() if answer.ended else answer.take()

    def _rest(self) -> bytes:
        """What is left of an answer that has ended; the connection is idle after it, or closed."""
        answer = self.answer
        rest = answer.take()
        self.busy, self.idle = False, answer.lives_on and self._sent
        if self.idle:
            answer.begin()
        else:
            self.abort()
        return rest

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self.idle = False
        self._transport.abort()

    async def aclose(self) -> None:
        """Close at once, and wait until the event loop has let go of the socket.

        TLS has a goodbye that waits for the other side's. A client that closes many connections would wait for each.
        """
        self.abort()
        await self._gone.wait()

    def __repr__(self) -> str:
        return f"<Http1 {'idle' if self.idle else 'busy' if self.busy else 'closed'}>"

    # Inside

    async def _wait(self) -> None:
        """Wait until something has come. Raises what has gone wrong: all that came before it was read."""
        if self._fault is not None:
            raise self._fault
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, fault: Exception) -> None:
        """End the connection, with an error for whoever waits."""
        if self._fault is None and not self.answer.ended:
            self._fault = fault
        self.answer.lives_on = False
        self.abort()
        self._wake()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses of it
        self._readable.register(transport.get_extra_info("socket").fileno(), POLLIN)

    def data_received(self, data: bytes) -> None:
        answer = self.answer
        if not self.busy:
            self._fail(_fault("RemoteProtocolError", "the server said something that it was not asked"))
            return
        try:
            answer.feed(data)
        except NoAnswer as told:
            self._fail(_fault("RemoteProtocolError", str(told)))
        if answer.unread > _HIGH_WATER and not (self._paused or answer.ended or self._fault):
            self._paused = True
            self._transport.pause_reading()
        if answer.headers is not None:
            self._wake()

    def eof_received(self) -> None:
        self.idle = False
        if self.busy and self._fault is None:
            self.data_received(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        if exc is not None:
            self._fail(_fault("ReadError", str(exc) or type(exc).__name__))
        self.eof_received()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()


@define(eq=False)
class _Reply(Reply):
    """An answer whose head has come."""

    connection: Http1 = field(kw_only=True)

    async def come(self) -> bytes:
        part = await self.connection.read()
        self.done = not self.connection.busy
        return part

    async def aclose(self) -> None:
        """Let go of what is left of it: if that is more than its end, the connection goes with it."""
        answer = self.connection.answer
        if not self.done and answer.ended and not answer.unread:
            await self.read()
        if not self.done:
            self.done = True
            self.connection.abort()

    def __del__(self) -> None:
        """Close the connection of an answer that is dropped before its end: the event loop would keep the socket."""
        loop = self.connection.loop
        if not (self.done or loop.is_closed()):
            loop.call_soon_threadsafe(self.connection.abort)  # a collector runs in any thread


def _written(request: Request) -> list[memoryview]:
    """A request in the pieces that it is written in: one if it is short. They do not show what they hold."""
    body, fields = request.body, request.fields
    if not isinstance(fields.ready, SecretBytes):
        lines = [f"{name}: {value}\r\n" for name, value in fields.pairs]
        fields.ready = SecretBytes("".join(lines).encode("latin-1"))
    head = [f"{request.method} {request.target} HTTP/1.1\r\n".encode(), fields.ready, b"\r\n"]
    if body is not None or request.method in BODIED:
        head[2] = b"Content-Length: %d\r\n\r\n" % len(body or b"")
    if not body or len(body) <= _WRITTEN_AT_ONCE:
        return [memoryview(b"".join([*head, body or b""]))]
    view = memoryview(body)
    parts = [view[i : i + _WRITTEN_AT_ONCE] for i in range(0, len(view), _WRITTEN_AT_ONCE)]
    return [memoryview(b"".join(head)), *parts]


def _fault(kind: str, told: str) -> Exception:
    """An error of httpx, which is imported only now: a program whose network has no faults may need nothing of it."""
    import httpx

    made: Exception = getattr(httpx, kind)(told)
    return made
