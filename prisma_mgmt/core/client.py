"""The client that every API's client builds on: configuration, lifecycle, and the way to any route."""

from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias, TypeVar

import httpx
from attrs import evolve, field, frozen

from prisma_mgmt._version import __version__
from prisma_mgmt.checks import TOKEN, checked_headers, checked_origin
from prisma_mgmt.core.codec import JSON, UNSET, Unset
from prisma_mgmt.core.pipeline import Call, Head, Pipeline
from prisma_mgmt.core.retry import RetryPolicy
from prisma_mgmt.core.streaming import LogStream
from prisma_mgmt.core.transport import Stream, Transport
from prisma_mgmt.core.wire import Answer, encode, fill, query_string, read_json
from prisma_mgmt.credentials import Credentials, ServiceToken
from prisma_mgmt.environment import SERVICE_TOKEN, variable
from prisma_mgmt.masks import Secret

if TYPE_CHECKING:
    from prisma_mgmt.core.events import Hook, Observer

R = TypeVar("R")
T = TypeVar("T")
Auth: TypeAlias = str | Credentials | None
Headers: TypeAlias = Mapping[str, str]
Query: TypeAlias = Mapping[str, Any]

_DEFAULT_HEADERS = {"Accept": "application/json", "User-Agent": f"prisma_mgmt/{__version__}"}
_DEFAULT_RETRY = RetryPolicy()
_LONGEST_URL = 65_536  # characters; httpx takes no more


@frozen
class Response:
    """An answer to `request()`; `body` is parsed, and None where there was none."""

    status: int
    headers: Headers
    body: JSON = field(repr=False)  # may hold a secret


@frozen
class _Options:
    """What a view may change."""

    base_url: str
    headers: dict[str, str] = field(repr=False)
    timeout: float | None
    retry: RetryPolicy
    credentials: Credentials | None = field(repr=False)
    observer: "Observer | None"
    head: Head = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "head", Head(self.base_url, self.headers))


class BaseClient:
    """A client of one API; one client serves one event loop."""

    base_url = "https://api.prisma.io"
    _is_view = False

    def __init__(
        self,
        auth: Auth = None,
        *,
        base_url: str | None = None,
        headers: Headers | None = None,
        timeout: float | None = 30.0,
        retry: RetryPolicy = _DEFAULT_RETRY,
        max_connections: int = 100,
        transport: httpx.AsyncBaseTransport | None = None,
        http_client: httpx.AsyncClient | None = None,
        http2: bool = False,
        on_event: "Hook | None" = None,
        allow_http: bool = False,
    ) -> None:
        """Make a client.

        auth: a token, any Credentials, or None for PRISMA_SERVICE_TOKEN in the environment.
        base_url: where the API is; https, or http to this machine (anything with `allow_http`).
        headers: sent with every request; an `Authorization` among them wins over `auth`.
        timeout: seconds for one attempt as a whole, from when a connection is free; None for no limit.
        retry: when to try again; RetryPolicy(attempts=1) turns it off.
        max_connections: how many requests travel at once; the others wait their turn.
        http2: speak HTTP/2 with servers that do (extra: http2), one request at a time on each connection.
        on_event: called with each event of a call (see prisma_mgmt.observe), in its task: it should return at once.
        transport, http_client: an httpx transport or AsyncClient of yours to send with instead; it is not closed here.
            Without one, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count as they do for httpx.

        Raises ValueError for arguments that cannot be right.
        """
        auth = Secret(auth) if isinstance(auth, str) else auth  # before anything can raise with it in sight
        self._allow_http = allow_http
        self.base_url = checked_origin(base_url or self.base_url, "base_url", allow_http=allow_http)
        sent = {**_DEFAULT_HEADERS, **checked_headers(headers)}
        seconds, credentials, observer = _checked_timeout(timeout), _credentials(auth), _observer(on_event)
        self._options = _Options(self.base_url, sent, seconds, retry, credentials, observer)
        pool = Transport(max_connections=max_connections, transport=transport, http_client=http_client, http2=http2)
        self._pipeline = Pipeline(pool)

    def with_options(
        self,
        *,
        auth: Auth | Unset = UNSET,
        base_url: str | Unset = UNSET,
        headers: Headers | Unset = UNSET,
        timeout: float | Unset | None = UNSET,
        retry: RetryPolicy | Unset = UNSET,
        on_event: "Hook | Unset | None" = UNSET,
    ) -> Self:
        """A view on this client with other options: the same connections, closed with this client and not before.

        `headers` are added to the client's own. With `auth=None` its calls are LoginRequiredErrors: a view for somebody
        without a token never takes the one in the environment.
        """
        auth = Secret(auth) if isinstance(auth, str) else auth
        options = self._options
        if auth is not UNSET:
            options = evolve(options, credentials=None if auth is None else _credentials(auth))
        if base_url is not UNSET:
            options = evolve(options, base_url=checked_origin(base_url, "base_url", allow_http=self._allow_http))
        if headers is not UNSET:
            options = evolve(options, headers={**options.headers, **checked_headers(headers)})
        if timeout is not UNSET:
            options = evolve(options, timeout=_checked_timeout(timeout))
        if retry is not UNSET:
            options = evolve(options, retry=retry)
        if on_event is not UNSET:
            options = evolve(options, observer=_observer(on_event))
        view = type(self).__new__(type(self))
        view.base_url = options.base_url
        view._allow_http = self._allow_http
        view._options = options
        view._pipeline = self._pipeline
        view._is_view = True
        return view

    async def request(
        self,
        method: str,
        path: str,
        *,
        path_params: Mapping[str, str] | None = None,
        query: Query | None = None,
        headers: Headers | None = None,
        body: Any = UNSET,
    ) -> Response:
        """Send to any route, typed or not, with the same auth, retries and errors.

        `path` starts with a slash; its `{name}` parts are filled from `path_params`, quoted. `body` is sent as JSON:
        None as null, left out as no body. Raises APIError, NetworkError, DecodeError, AuthError.
        """
        if not TOKEN.fullmatch(method):
            raise ValueError(f"{method!r} is no HTTP method")
        exchange = self.exchange(method.upper(), fill(path, path_params or {}), query, headers, body)
        del headers, body  # they may hold secrets, and a traceback of what follows may show our locals
        answer = await exchange
        return Response(answer.status, answer.headers, read_json(answer))

    def exchange(
        self, method: str, path: str, query: Query | None = None, headers: Headers | None = None, body: Any = UNSET
    ) -> Coroutine[Any, Any, Answer]:
        """The unread answer of a route whose path is already filled; resources build on this.

        No coroutine itself: this frame, with the body in it, is gone before anything can fail and a traceback show it.
        """
        try:
            call = self._call(method, path, query, headers, body)
        except (TypeError, ValueError) as error:
            error.__cause__ = error.__context__ = None
            return _refuse(error.with_traceback(None))
        return self._pipeline.send(call)

    def log_stream(
        self, record: type[R], terminal: type[T], path: str, query: Query, *, live: bool | None
    ) -> LogStream[R, T]:
        """A log route whose path is already filled; over a WebSocket where it is to come `live`."""
        stream = _live() if live else Stream

        def call(query: Query) -> Call:
            return self._call("GET", path, query, {"Accept": "application/x-ndjson"}, stream=stream)

        return LogStream(self._pipeline, call, query, record, terminal)

    def _call(
        self,
        method: str,
        path: str,
        query: Query | None,
        headers: Headers | None = None,
        body: Any = UNSET,
        *,
        stream: type[Stream] | None = None,
    ) -> Call:
        options = self._options
        head = options.head
        text = query_string(query)
        if len(options.base_url) + len(path) + len(text) > _LONGEST_URL:
            raise ValueError(f"a URL of more than {_LONGEST_URL:,} characters: an id or the query is too long")
        if headers:
            head = Head(options.base_url, {**options.headers, **checked_headers(headers)})
        return Call(
            method,
            options.base_url,
            path,
            text,
            head,
            encode(body),
            options.timeout,
            options.retry,
            None if "Authorization" in head.headers else options.credentials,
            options.observer,
            stream,
        )

    async def aclose(self) -> None:
        """Close the connections; a view leaves them to the client that it was made from."""
        if not self._is_view:
            await self._pipeline.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


async def _refuse(error: Exception) -> NoReturn:
    raise error


def _credentials(auth: Auth) -> Credentials | None:
    if auth is None:
        token = variable(SERVICE_TOKEN)
        return None if token is None else ServiceToken(Secret(token), SERVICE_TOKEN)
    if isinstance(auth, str):
        return ServiceToken(auth)
    if not isinstance(auth, Credentials):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
        raise TypeError("auth must be a token, or have the methods access_token and renew")
    return auth


def _live() -> type[Stream]:
    try:
        from prisma_mgmt.core.live import Live
    except ImportError:
        raise ImportError("follow=True needs websockets: install prisma-mgmt[live]") from None
    return Live


def _observer(on_event: "Hook | None") -> "Observer | None":
    if on_event is None:
        return None
    from prisma_mgmt.core.events import Observer

    return Observer(on_event)


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds or None, not {timeout!r}")
    return timeout
