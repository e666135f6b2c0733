"""Sends one request, to the login server or to GitHub, over a connection of its own, and gives its whole answer."""

import json
import ssl
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias, cast
from urllib.parse import urlencode

import anyio
import httpx
from attrs import frozen

from prisma_mgmt._version import __version__
from prisma_mgmt.auth.tokens import loads
from prisma_mgmt.checks import checked_kind
from prisma_mgmt.environment import way_to
from prisma_mgmt.errors import AuthError, NetworkError, RequestTimeoutError
from prisma_mgmt.faults import network_error, unquote
from prisma_mgmt.masks import SecretBytes, masked
from prisma_mgmt.waits import retry_after

TransportArgument: TypeAlias = httpx.AsyncBaseTransport | None

LARGEST = 64 * 1024  # bytes of an answer; what is longer is no answer
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": f"prisma_mgmt/{__version__}"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@frozen
class Answer:
    """What a server answered to a call: its body is unpacked, and masked."""

    method: str
    url: str
    status: int
    headers: Mapping[str, str]
    body: SecretBytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def fields(self) -> dict[str, Any]:
        """The answer's JSON object, all its strings masked; empty for anything else."""
        text = self.body.decode(json.detect_encoding(self.body), "replace")  # an odd byte beside the pair costs nothing
        with suppress(ValueError, RecursionError):
            if len(self.body) <= LARGEST and isinstance(found := masked(loads(text)), dict):
                return cast("dict[str, Any]", found)
        return {}

    def refusal(self, message: str, now: float, kind: type[AuthError] = AuthError, **details: Any) -> AuthError:
        """An error of this kind, about the call that was answered so at `now` (Unix seconds)."""
        error = kind(message, retry_after=retry_after(self.headers, now), **details)
        error.method, error.url = self.method, self.url
        return error


class Sender:
    """Sends requests, each over a connection of its own, by the proxies and the certificates of the environment.

    timeout: seconds for an answer as a whole.
    """

    def __init__(
        self, *, timeout: float, transport: TransportArgument = None, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        checked_kind(transport, httpx.AsyncBaseTransport | None, "transport", "an httpx.AsyncBaseTransport")
        checked_kind(ssl_context, ssl.SSLContext | None, "ssl_context", "an ssl.SSLContext")
        self.timeout = timeout
        self._transport = transport
        self._ssl = ssl_context

    async def send(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        within: float | None = None,
        on_sent: Callable[[], object] | None = None,
    ) -> Answer:
        """The answer, of any status; `on_sent` is called when bytes of the request are about to go out.

        within: seconds, if they are fewer than the timeout.

        Raises NetworkError.
        """
        headers = {**_HEADERS, **(_FORM if form else {}), **(headers or {})}
        trail = _Trail(method, url, on_sent)
        # half of a surrogate pair goes along: an error about it would hold the whole text
        content = SecretBytes(urlencode(form, errors="surrogatepass").encode()) if form else None
        request = httpx.Request(method, url, content=content, json=json, headers=headers, extensions={"trace": trail})
        failed: NetworkError = RequestTimeoutError(f"no answer within {self.timeout:g} s", method=method, url=url)
        with anyio.move_on_after(self.timeout if within is None else within):
            try:
                return await self._send(request, trail)
            except NetworkError as error:  # of the environment, which knows of no call
                error.method, error.url = method, url
                raise
            except Exception as error:  # not all that goes wrong below has a name of httpx's
                known = network_error(error, method=method, url=url, ours=self._transport is None)
                if known is None:
                    raise
                failed = known
        with suppress(httpx.DecodingError):
            # It may be only the end of the framing that is missing. To lose an answer that has come whole would be to
            # send a refresh token again that the server has spent.
            if (answer := trail.answer()).fields:
                return answer
        failed.unsent = failed.unsent or not trail.sent
        raise failed

    async def _send(self, request: httpx.Request, trail: "_Trail") -> Answer:
        if self._transport is not None:
            trail.note()  # nobody knows what a transport of the user's does
            return await trail.read(await self._transport.handle_async_request(request))
        proxy, trusted = await way_to(str(request.url), self._ssl)
        try:
            async with httpx.AsyncHTTPTransport(verify=trusted, proxy=proxy, trust_env=False) as transport:
                return await trail.read(await transport.handle_async_request(request))
        finally:
            await trail.close()


class _Trail:
    """Follows a request through httpcore, which calls it at every step, and keeps what comes of its answer."""

    def __init__(self, method: str, url: str, on_sent: Callable[[], object] | None) -> None:
        self._method, self._url, self._on_sent = method, url, on_sent
        self._streams: list[Any] = []
        self._response = httpx.Response(0)  # until one begins
        self._body = bytearray()
        self.sent = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith(".failed"):
            unquote(info["exception"])
        elif event == "connection.connect_tcp.complete":
            self._streams.append(info["return_value"])
        elif event.endswith((".send_request_headers.started", ".send_request_body.started")):
            if anyio.current_time() >= anyio.current_effective_deadline():
                await anyio.sleep_forever()  # until that is noticed: the event loop has stalled, and it is too late
            if info["request"].method != b"CONNECT":  # a proxy's, which is not yet the request
                self.note()

    def note(self) -> None:
        self.sent = True
        if self._on_sent is not None:
            self._on_sent()

    async def read(self, response: httpx.Response) -> Answer:
        self._response = response
        assert isinstance(response.stream, httpx.AsyncByteStream)
        try:
            async for chunk in response.stream:  # undecoded: httpx leaves its generators open if decoding fails
                if len(self._body) <= LARGEST:  # what is too much is read and dropped, within the deadline
                    self._body += chunk
        finally:
            await response.aclose()
        return self.answer()

    def answer(self) -> Answer:
        """As much of an answer as has come."""
        body = SecretBytes(_unpacked(bytes(self._body), self._response.headers))
        return Answer(self._method, self._url, self._response.status_code, self._response.headers, body)

    async def close(self) -> None:
        """Close what was opened: httpcore forgets a connection that is cancelled in its TLS handshake."""
        with anyio.CancelScope(shield=True):
            for stream in self._streams:
                await stream.aclose()


def _unpacked(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body of an answer that was packed though nobody had asked for that; never more than a byte too much."""
    coding = headers.get("content-encoding", "").lower()
    # a proxy may have unpacked it, and kept the header
    if not ("gzip" in coding or "deflate" in coding) or body.lstrip().startswith(b"{"):
        return body[: LARGEST + 1]
    either, none = 32 + zlib.MAX_WBITS, -zlib.MAX_WBITS  # a head of gzip's or zlib's; some servers leave the latter out
    for head in (either, none) if "deflate" in coding else (either,):
        with suppress(zlib.error):
            return zlib.decompressobj(head).decompress(body, LARGEST + 1)
    raise httpx.DecodingError("the answer is packed, and cannot be unpacked")
