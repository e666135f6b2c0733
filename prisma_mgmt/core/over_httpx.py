"""Connections over httpx: our own, one to each httpx transport, and those of a user's transport or client."""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, cast

import anyio
import httpcore
import httpx

from prisma_mgmt.core.connection import Connection, Fields, Network, Origin, Request

_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_PARTS = "_uri_reference"  # what httpx.URL keeps of a URL
_READ_AHEAD = 65536  # bytes that httpcore reads at once
_read = lru_cache(maxsize=512)(httpx.URL)  # pollers ask for the same one
_PLAIN = re.compile(r"/[0-9A-Za-z_/-]*")  # a path that httpx leaves as it is


class Reply:
    """An answer of httpx's."""

    def __init__(self, response: httpx.Response) -> None:
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.done: bool = False
        self._cut = False  # a read failed, or was cancelled
        self._response = response
        self._rest: bytes | None = None
        if response.is_closed:  # it is from memory, or a hook has read it, or has not and raised
            self._rest = response.content if hasattr(response, "_content") else b""
            self.headers = httpx.Headers({**response.headers, "content-encoding": "identity"})  # it is unpacked by now
        self._parts: AsyncIterator[bytes] | None = None

    @property
    def network(self) -> Network | None:
        stream = self._response.extensions.get("network_stream")
        return None if stream is None else _Upgraded(stream)

    async def read(self) -> bytes:
        if self._rest is not None:
            part, self._rest, self.done = self._rest, b"", True
            return part
        if self._parts is None:
            self._parts = aiter(cast("httpx.AsyncByteStream", self._response.stream))
        self._cut = True
        async for part in self._parts:
            if part:
                self._cut = False
                return part
        await self._response.aclose()
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
        await self._response.aclose()
        self.done = self.done or (ended and not self._cut)


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


def _url(request: Request) -> httpx.URL:
    """The request's URL. To read a whole one is what costs httpx most in a call, and mostly only the path is new."""
    base = _base(request.origin.url)
    if base is None or not _PLAIN.fullmatch(request.target):
        return _read(request.url)
    made = httpx.URL(base)
    setattr(made, _PARTS, getattr(made, _PARTS)._replace(path=request.target))
    return made


@lru_cache(maxsize=64)
def _base(origin: str) -> httpx.URL | None:
    """The URL of an origin; None if this httpx keeps the parts of a URL otherwise than we know."""
    made = httpx.URL(origin)
    return made if hasattr(getattr(made, _PARTS, None), "_replace") else None


def _headers(fields: Fields) -> httpx.Headers:
    if not isinstance(fields.ready, httpx.Headers):
        fields.ready = httpx.Headers([(name.encode(), value.encode()) for name, value in fields.pairs])
    return fields.ready


def _is_sending(event: str, info: Mapping[str, Any]) -> bool:
    """Return True if httpcore says that it is about to send the request; a proxy's CONNECT is not yet that."""
    return event.endswith(".send_request_headers.started") and info["request"].method != b"CONNECT"


def _checked_late(request: Request, made: httpx.Request) -> httpx.Request:
    """`made`, checked once more when its turn comes: a client may have a pool of its own, where requests wait."""

    async def watch(event: str, info: Mapping[str, Any]) -> None:
        if _is_sending(event, info):
            made.extensions.pop("trace", None)
            request.check()

    if request.outdated is not None:
        made.extensions["trace"] = watch
    return made


def _request(request: Request, headers: httpx.Headers) -> httpx.Request:
    url = _url(request)
    if request.body is not None or request.method not in _BODILESS:
        made = httpx.Request(request.method, url, headers=headers, content=request.body)
        made.stream = _Content(request.body or b"")
        return made
    made = httpx.Request(request.method, url, headers=headers, stream=_NOTHING)
    made.read()  # as httpx would make it, without looking for a body
    return made


class _Content(httpx.ByteStream):
    """A body that leaves no generator behind if sending it is cut short."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(iter(self))


class _Pieces(AsyncIterator[bytes]):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


_NOTHING = _Content(b"")


class OwnConnection:
    """A connection of our own; it knows its socket, which httpcore forgets when a TLS handshake is cancelled."""

    ours = True
    engine = "httpx"

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.made: bool = False
        self._transport = transport
        self._reply: Reply | None = None
        self._socket: Any = None
        self._request: Request | None = None
        self._extensions: dict[str, Any] = {}
        self._http: Any = None  # httpcore's connection that `_buffers` belong to
        self._buffers: list[Callable[[], object]] = []

    async def send(self, request: Request) -> Reply:
        made = _request(request, _headers(request.fields))
        self._reply, self._request, self._extensions = None, request, made.extensions
        self._extensions["trace"] = self._watch
        self._reply = Reply(await self._transport.handle_async_request(made))
        return self._reply

    async def _watch(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"]
        elif self._request is not None and _is_sending(event, info):
            self.made = True
            self._extensions.pop("trace", None)  # to watch the rest would only take time
            self._request.check()

    @property
    def reusable(self) -> bool:
        """Return False if something came after the last answer: it would be taken for the next call's answer.

        Before httpcore sends, it looks if the socket holds more to read. It does not look at bytes that it has read
        already, and no public name leads to them. If its private names change, the tests of hostile servers fail.
        """
        if self._reply is None or not self._reply.done:
            return False
        pool = getattr(self._transport, "_pool", None)
        http = next(iter(getattr(pool, "_connections", ())), None)
        while http is not None and not hasattr(http, "_h11_state"):  # it is inside its own class, or a proxy's
            http = getattr(http, "_connection", None)
        if http is not self._http:
            self._http = http
            self._buffers = [] if http is None else [lambda: http._h11_state.trailing_data[0], *_buffers(http)]
        return not any([held() for held in self._buffers])  # noqa: C419  # a list is faster than a generator

    async def aclose(self) -> None:
        await self._transport.aclose()
        if self._socket is not None:
            await self._socket.aclose()


def _buffers(http: Any) -> Iterator[Callable[[], object]]:
    """What asyncio, anyio's TLS and trio's TLS have read ahead of httpcore: each gives something falsy for nothing."""
    stream = getattr(http, "_network_stream", None)
    while stream is not None:
        sealed = getattr(stream, "_read_bio", None) or getattr(stream, "_incoming", None)
        if sealed is not None:
            yield partial(getattr, sealed, "pending")
        queue = getattr(getattr(stream, "_protocol", None), "read_queue", None)
        if queue is not None:
            yield queue.__len__
        stream = getattr(stream, "_stream", None) or getattr(stream, "transport_stream", None)


class TheirTransport:
    """Sends over a transport of the user's, which keeps connections of its own and stays open."""

    ours = False
    engine = "transport"
    made = True  # as far as we know
    reusable = False

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def connect(self, origin: Origin, *, upgrade: bool) -> Connection:  # noqa: ARG002  # it knows the way
        return self

    async def send(self, request: Request) -> Reply:
        made = _checked_late(request, _request(request, _headers(request.fields)))
        return Reply(await self._transport.handle_async_request(made))

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
        headers.update(_headers(request.fields))
        made = _checked_late(request, _request(request, headers))
        made.extensions["timeout"] = {}  # or the client's own would cut in before ours
        try:
            return Reply(await self._client.send(made, stream=True, auth=None, follow_redirects=False))
        except httpx.HTTPStatusError as error:  # of a hook that calls `raise_for_status`, as httpx's documents show it
            return Reply(error.response)
