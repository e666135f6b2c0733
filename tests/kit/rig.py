"""A loopback HTTP server in the test's own event loop, and gates to hold its answers; nothing waits by the clock."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import anyio.lowlevel
import h11
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream
from attrs import define, field


class Gate:
    """Holds whoever passes until it is released; tells the test that somebody has arrived."""

    def __init__(self, *, open_: bool = False) -> None:
        self.arrived = anyio.Event()
        self.released = anyio.Event()
        if open_:
            self.released.set()

    async def __call__(self) -> None:
        self.arrived.set()
        await self.released.wait()

    def release(self) -> None:
        self.released.set()


@define
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int  # which connection it came over, counted from 1

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None


class Drop(Exception):
    """Raised by a handler: close the connection without an answer (or after `head`, in the middle of one)."""

    def __init__(self, head: bytes = b"") -> None:
        self.head = head


@define
class Reply:
    """What the server answers: JSON of `body`, or `content` as it is."""

    status: int = 200
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(factory=dict)
    chunks: AsyncIterator[bytes] | None = None
    hang_up: bool = False  # close the connection after the answer, without having said so in it
    talk: Callable[[ByteStream], Awaitable[None]] | None = None  # takes the connection over, without an answer of ours

    def raw(self) -> bytes:
        if self.content is not None:
            return self.content
        return b"" if self.status in (204, 304) else json.dumps(self.body).encode()


async def until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; for what the kernel or the other side of a socket brings about."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


Handler = Callable[[Request], Awaitable[Reply]]


@define
class Server:
    """A running server: what it was asked, over how many connections."""

    url: str
    requests: list[Request] = field(factory=list)
    connections: int = 0
    open_connections: int = 0

    def count(self, path: str) -> int:
        return sum(request.path == path for request in self.requests)


@asynccontextmanager
async def serve(
    handler: Handler, tls: ssl.SSLContext | None = None, handshake: Gate | None = None
) -> AsyncIterator[Server]:
    """Serve `handler` on a free loopback port for as long as the context lasts; `handshake` holds those of TLS."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    server = Server(f"http{'s' if tls else ''}://127.0.0.1:{port}")

    async def connected(stream: SocketStream) -> None:
        server.connections += 1
        server.open_connections += 1
        try:
            async with stream:
                talk: ByteStream = stream
                if handshake is not None:
                    await handshake()
                if tls:
                    talk = await TLSStream.wrap(stream, server_side=True, ssl_context=tls, standard_compatible=False)
                await _converse(talk, handler, server, server.connections)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, h11.RemoteProtocolError):
            pass  # the client went away, as clients do
        except ssl.SSLError:
            pass
        finally:
            server.open_connections -= 1

    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, connected)
        try:
            yield server
        finally:
            group.cancel_scope.cancel()


async def _converse(stream: ByteStream, handler: Handler, server: Server, number: int) -> None:
    connection = h11.Connection(h11.SERVER)
    while True:
        request = await _receive(stream, connection, number)
        if request is None:
            return
        server.requests.append(request)
        try:
            reply = await handler(request)
        except Drop as drop:
            if drop.head:
                await stream.send(drop.head)
            return
        if reply.talk is not None:
            await reply.talk(stream)
            return
        await _answer(stream, connection, reply)
        if reply.hang_up or connection.our_state is h11.MUST_CLOSE:
            return
        connection.start_next_cycle()


async def _receive(stream: ByteStream, connection: h11.Connection, number: int) -> Request | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            try:
                connection.receive_data(await stream.receive())
            except anyio.EndOfStream:
                return None
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert head is not None
            headers = {name.decode(): value.decode() for name, value in head.headers}
            return Request(head.method.decode(), head.target.decode(), headers, bytes(body), number)
        else:
            return None


async def _answer(stream: ByteStream, connection: h11.Connection, reply: Reply) -> None:
    headers = {"content-type": "application/json", "x-request-id": "req_1", **reply.headers}
    if reply.chunks is None:
        headers["content-length"] = str(len(reply.raw()))
    else:
        headers["transfer-encoding"] = "chunked"
    head = h11.Response(status_code=reply.status, headers=list(headers.items()))
    await stream.send(connection.send(head) or b"")
    if reply.chunks is None:
        await stream.send(connection.send(h11.Data(data=reply.raw())) or b"")
    else:
        async for chunk in reply.chunks:
            await stream.send(connection.send(h11.Data(data=chunk)) or b"")
    await stream.send(connection.send(h11.EndOfMessage()) or b"")
