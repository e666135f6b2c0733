"""One connection to send over: our own, or a user's client seen as one."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import httpx

Origin: TypeAlias = tuple[str, str, int | None, bool]  # scheme, host, port, whether for upgrades


class TheirClient(httpx.AsyncBaseTransport):
    """A user's httpx.AsyncClient seen as a transport: its hooks and proxies run, its auth and redirects do not."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["timeout"] = {}  # or the client's own would cut in before ours
        return await self._client.send(request, stream=True, auth=None, follow_redirects=False)


class Connection(httpx.AsyncBaseTransport):
    """One connection of our own; it knows its socket, which httpcore forgets when a TLS handshake is cancelled."""

    def __init__(self, transport: httpx.AsyncBaseTransport, origin: Origin) -> None:
        self._transport = transport
        self.origin = origin
        self._socket: Any = None
        self._extensions: dict[str, Any] = {}
        self._http: Any = None  # httpcore's connection that `_buffers` belong to
        self._buffers: list[Callable[[], object]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._extensions = request.extensions
        self._extensions["trace"] = self._watch
        return await self._transport.handle_async_request(request)

    async def _watch(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._socket = info["return_value"]
        elif not event.startswith("connection."):  # it is made; to watch the rest would only take time
            self._extensions.pop("trace", None)

    def clean(self) -> bool:
        """Whether nothing came after the end of the last answer: it would be taken for the next call's answer.

        httpcore asks the socket, before it sends, whether there is more to read, but forgets what it has read already,
        and has no public name for that. Where its private ones are others than these, nothing is found.
        """
        pool = getattr(self._transport, "_pool", None)
        http = next(iter(getattr(pool, "_connections", ())), None)
        while http is not None and not hasattr(http, "_h11_state"):  # HTTP/2 has none: its answers carry numbers
            http = getattr(http, "_connection", None)  # inside its own class, or a proxy's
        if http is not self._http:
            self._http = http
            self._buffers = [] if http is None else [lambda: http._h11_state.trailing_data[0], *_buffers(http)]
        return not any([held() for held in self._buffers])  # noqa: C419  # a list is faster than a generator

    async def aclose(self) -> None:
        await self._transport.aclose()
        if self._socket is not None:
            await self._socket.aclose()


def _buffers(http: Any) -> Iterator[Callable[[], object]]:
    """What asyncio, anyio's TLS and trio's TLS have read ahead of httpcore: falsy where that is nothing."""
    stream = getattr(http, "_network_stream", None)
    while stream is not None:
        sealed = getattr(stream, "_read_bio", None) or getattr(stream, "_incoming", None)
        if sealed is not None:
            yield partial(getattr, sealed, "pending")
        queue = getattr(getattr(stream, "_protocol", None), "read_queue", None)
        if queue is not None:
            yield queue.__len__
        stream = getattr(stream, "_stream", None) or getattr(stream, "transport_stream", None)
