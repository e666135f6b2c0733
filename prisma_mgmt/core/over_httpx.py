"""Connections over httpx: our own, one to each httpx transport, and those of a user's transport or client."""

import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeAlias, cast

import anyio
import httpcore
import httpx
from attrs import define, field

from prisma_mgmt.core.connection import BODIED, Connection, Origin, Reply, Request
from prisma_mgmt.faults import unquote

_PARTS = "_uri_reference"  # what httpx.URL keeps of a URL
_READ_AHEAD = 65536  # bytes that httpcore reads at once
_log = logging.getLogger("httpcore.http11")
_read = lru_cache(maxsize=512)(httpx.URL)  # pollers ask for the same one
_Trace: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[None]]
_PLAIN = re.compile(r"/[0-9A-Za-z_/-]*")  # a path that httpx leaves as it is


@define(eq=False)
class _Reply(Reply):
    """An answer of httpx's."""

    response: httpx.Response = field(kw_only=True)
    _cut: bool = False  # a read failed, or was cancelled
    _parts: AsyncIterator[bytes] | None = None

    async def come(self) -> bytes:
        if self._parts is None:
            self._parts = aiter(cast("httpx.AsyncByteStream", self.response.stream))
        self._cut = True
        async for part in self._parts:
            if part:
                self._cut = False
                return part
        await self.response.aclose()
        self.done, self._cut = True, False
        return b""

    async def aclose(self) -> None:
        """Let go of what is left of the body.

        httpx's generators are run to their end, for one that is dropped midway is left to the event loop. If another
        task is reading them (RuntimeError), that reading ends with the connection.
        """
        ended = False
        if self._parts is not None and not self.done:
            with anyio.CancelScope() as scope, suppress(Exception):  # nobody asks for it any more
                scope.cancel()
                skipped = 0
                async for part in self._parts:
                    skipped += len(part)
                    if skipped > _READ_AHEAD:
                        break
                else:
                    ended = True
        await self.response.aclose()
        self.done = self.done or (ended and not self._cut)


def _reply(response: httpx.Response) -> _Reply:
    headers, content = response.headers, None
    if response.is_closed:  # it is from memory, or a hook has read it, or has not and raised
        content = response.content if hasattr(response, "_content") else b""
        if "content-encoding" in headers:  # it is unpacked by now
            headers = httpx.Headers({**headers, "content-encoding": "identity"})
    stream = response.extensions.get("network_stream")
    network = None if stream is None else _Upgraded(stream)
    return _Reply(response.status_code, headers, content, content is not None, network, response=response)


class _Upgraded:
    """httpcore's stream after a 101."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        try:
            return bytes(await self._stream.read(_READ_AHEAD))
        except httpcore.NetworkError as error:
            raise httpx.ReadError(str(error)) from error

    async def write(self, data: bytes) -> None:
        await self._stream.write(data)


@lru_cache(maxsize=64)
def _base(origin: str) -> httpx.URL | None:
    """The URL of an origin; None if this httpx keeps the parts of a URL otherwise than we know."""
    made = httpx.URL(origin)
    return made if hasattr(getattr(made, _PARTS, None), "_replace") else None


def _request(
    request: Request, beside: httpx.Headers | None = None, own: "OwnConnection | None" = None
) -> httpx.Request:
    """The request as httpx has it, with the headers `beside` its own, to be sent over a connection of our `own`.

    To read a whole URL is what costs httpx most in a call. A plain path is put into the URL of the origin instead.
    """
    base, fields = _base(request.origin.url), request.fields
    if base is not None and _PLAIN.fullmatch(request.target):
        url = httpx.URL(base)
        setattr(url, _PARTS, getattr(url, _PARTS)._replace(path=request.target))
    else:
        url = _read(request.url)
    headers = fields.ready
    if not isinstance(headers, httpx.Headers):
        headers = fields.ready = httpx.Headers([(name.encode(), value.encode()) for name, value in fields.pairs])
    if beside is not None:
        beside.update(headers)
        headers = beside
    body = request.body or b""
    made = httpx.Request(request.method, url, headers=headers, stream=_Content(body))
    if request.body is not None or request.method in BODIED:
        made.headers["Content-Length"] = str(len(body))
    made.read()  # for transports and hooks of the user's, which may look at it
    if own is not None or request.outdated is not None:
        made.extensions["trace"] = _watching(made, request, own)
    return made


def _watching(made: httpx.Request, request: Request, own: "OwnConnection | None") -> _Trace:
    """Checks `request` once more right before it is sent: it may wait in the pool of a user's client.

    If the connection is our `own`, it also learns its socket, and that a request is sent.
    """

    async def watch(event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete" and own is not None:
            own.socket = info["return_value"]
        elif event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT":  # a proxy's
            if own is not None:
                own.made = True
            if own is not None and not _log.isEnabledFor(logging.DEBUG):  # a user's transport may send it once more
                made.extensions.pop("trace", None)  # to watch the rest would only take time
            request.check()
        elif event.endswith(".failed"):
            unquote(info["exception"])

    return watch


class _Content(httpx.ByteStream, AsyncIterator[bytes]):
    """A body that is sent once. It leaves no generator behind if sending it is cut short."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._pieces = iter(self)
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class OwnConnection:
    """A connection of our own; it knows its socket, which httpcore forgets when a TLS handshake is cancelled."""

    ours = True
    engine = "httpx"

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.made: bool = False
        self.socket: Any = None
        self._transport = transport
        self._reply: Reply | None = None

    async def send(self, request: Request) -> Reply:
        self._reply = None
        self._reply = _reply(await self._transport.handle_async_request(_request(request, own=self)))
        return self._reply

    @property
    def idle(self) -> bool:
        return self._reply is not None and self._reply.done

    @property
    def reusable(self) -> bool:
        """Return False if something has come since the last answer: the next one would be read wrong, or not at all.

        Before httpcore sends, it looks if the socket holds more to read. It does not look at what it has read already,
        bytes or the goodbye of TLS, and no public name leads to them. If its private names change, the tests of
        hostile servers fail.
        """
        if not self.idle:
            return False
        pool = getattr(self._transport, "_pool", None)
        http = next(iter(getattr(pool, "_connections", ())), None)
        while http is not None and not hasattr(http, "_h11_state"):  # it is inside its own class, or a proxy's
            http = getattr(http, "_connection", None)
        return http is None or not any(_read_ahead(http))

    async def aclose(self) -> None:
        await self._transport.aclose()
        if self.socket is not None:
            await self.socket.aclose()


def _read_ahead(http: Any) -> Iterator[object]:
    """What h11, asyncio, anyio's TLS and trio's TLS have read ahead of httpcore: something falsy if that is nothing."""
    yield from http._h11_state.trailing_data  # bytes, and if that was the end
    stream = getattr(http, "_network_stream", None)
    while stream is not None:
        sealed = getattr(stream, "_read_bio", None) or getattr(stream, "_incoming", None)
        yield getattr(sealed, "pending", None)
        yield getattr(getattr(stream, "_protocol", None), "read_queue", None)
        stream = getattr(stream, "_stream", None) or getattr(stream, "transport_stream", None)


class TheirTransport:
    """Sends over a transport of the user's, which keeps connections of its own and stays open."""

    ours = False
    engine = "transport"
    made = True  # as far as we know
    idle = reusable = True  # whatever became of the last request

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def connect(self, origin: Origin, *, upgrade: bool) -> Connection:  # noqa: ARG002  # it knows the way
        return self

    async def send(self, request: Request) -> Reply:
        return _reply(await self._transport.handle_async_request(_request(request)))

    async def aclose(self) -> None:
        """Leave the user's transport as it is."""


class TheirClient(TheirTransport):
    """Sends over a user's httpx.AsyncClient: its headers, hooks and proxies count, its auth and redirects do not."""

    engine = "http_client"

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, request: Request) -> Reply:
        headers = httpx.Headers(self._client.headers)
        headers.pop("Authorization", None)  # a route that needs no token is sent none
        made = _request(request, headers)
        made.extensions["timeout"] = {}  # or the client's own would cut in before ours
        try:
            return _reply(await self._client.send(made, stream=True, auth=None, follow_redirects=False))
        except httpx.HTTPStatusError as error:  # of a hook that calls `raise_for_status`, as httpx's documents show it
            return _reply(error.response)
