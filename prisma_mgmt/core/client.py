"""BaseClient: its arguments, with_options(), request(), the Call that is made of what is asked, and how it closes."""

import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias
from weakref import WeakValueDictionary

import anyio
from attrs import field, frozen

from prisma_mgmt.checks import TOKEN, checked_count, checked_origin
from prisma_mgmt.core.answers import read_any
from prisma_mgmt.core.call import Call
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.encoding import dump
from prisma_mgmt.core.engines import ClientArgument, TransportArgument, engine_for
from prisma_mgmt.core.headers import request_id
from prisma_mgmt.core.kinds import UNSET, Unset
from prisma_mgmt.core.limits import Limits
from prisma_mgmt.core.options import DEFAULT_RETRY, Options, checked_headers
from prisma_mgmt.core.paths import fill, query_string
from prisma_mgmt.core.pipeline import Pipeline
from prisma_mgmt.core.pool import Pool
from prisma_mgmt.core.record import Answered, recording
from prisma_mgmt.core.retry import RetryPolicy
from prisma_mgmt.core.sources import NOBODY, from_environment
from prisma_mgmt.credentials import Credentials, TrackedCredentials
from prisma_mgmt.environment import API_URL, variable
from prisma_mgmt.loops import closed
from prisma_mgmt.masks import bare

if TYPE_CHECKING:
    from prisma_mgmt.core.events import Hook
else:  # events are imported only if somebody observes, and yet the annotations can be evaluated
    Hook: TypeAlias = Callable[[Any], object]

Headers: TypeAlias = Mapping[str, str]
Query: TypeAlias = Mapping[str, Any]
AuthArgument: TypeAlias = str | Credentials | None

_LONGEST_URL = 65_536  # characters; httpx takes no more


@frozen
class Response:
    """An answer to `request()`; `body` is parsed JSON, or text, or bytes; None if there was none."""

    status: int
    headers: Headers = field(repr=False)
    body: Any = field(repr=False)  # may hold a secret

    @property
    def request_id(self) -> str | None:
        """What the API calls this request in its own log, if it says so."""
        return request_id(self.headers)


class Bound:
    """What belongs to a client; a view of that client has one of its own."""

    __slots__ = ("_client",)

    def __init__(self, client: "BaseClient") -> None:
        self._client = client


class BaseClient:
    """A client of one API; one client serves one event loop."""

    base_url: str = "https://api.prisma.io"
    _is_view = False

    def __init__(
        self,
        auth: AuthArgument = None,
        *,
        base_url: str | None = None,
        headers: Headers | None = None,
        timeout: float | None = 30.0,
        retry: RetryPolicy = DEFAULT_RETRY,
        max_connections: int = 100,
        ssl_context: ssl.SSLContext | None = None,
        transport: TransportArgument = None,
        http_client: ClientArgument = None,
        on_event: Hook | None = None,
        allow_http: bool = False,
        _clock: Clock | None = None,
        _limits: Limits | None = None,
    ) -> None:
        """Make a client.

        auth: a token, any Credentials, or None for PRISMA_SERVICE_TOKEN in the environment.
        base_url: where the API is; https, or http to this machine (anything with `allow_http`). None means
            PRISMA_MANAGEMENT_API_URL in the environment, else the API's own.
        headers: sent with every request; an `Authorization` among them wins over `auth`.
        timeout: seconds for one attempt as a whole, once a connection is free; None for no limit.
        retry: when to try again; RetryPolicy(attempts=1) turns it off.
        max_connections: how many requests travel at once; the others wait their turn. Open logs do not count.
        ssl_context: the certificates to trust, instead of those that SSL_CERT_FILE names or certifi has.
        on_event: called with each event of a call (see prisma_mgmt.observe), in its task: it should return at once.
        transport, http_client: an httpx transport or AsyncClient of yours to send with instead; it is not closed here.
            The headers, hooks and proxies of a client count; its auth, cookies, params, timeout and base_url do not.
            Without one, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY count as they do for httpx.

        Raises TypeError or ValueError for wrong arguments.
        """
        with bare:
            if not isinstance(allow_http, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
                raise TypeError(f"allow_http must be True or False, not {type(allow_http).__name__}")
            checked_count(max_connections, "max_connections")
            clock, limits = _clock or Clock(), _limits or Limits()
            self._options = Options(BaseClient.base_url, allow_http=allow_http).changed(
                auth=from_environment() if auth is None else auth,
                base_url=self._usual_url(allow_http) if base_url is None else base_url,
                headers=headers,
                timeout=timeout,
                retry=retry,
                observer=on_event,
            )
            self.base_url = self._options.base_url
            engine = engine_for(transport, http_client, ssl_context, idle=limits.idle)
            self.pipeline: Pipeline = Pipeline(Pool(engine, clock, limits, places=max_connections), clock)
            self._tracked: WeakValueDictionary[int, TrackedCredentials] = WeakValueDictionary()  # of views

    def _usual_url(self, allow_http: bool) -> str:
        """Where the API is if nobody says otherwise; the environment's URL is the Management API's."""
        own = type(self).base_url
        named = variable(API_URL) if own == BaseClient.base_url else None
        return checked_origin(named, API_URL, allow_http=allow_http) if named else own

    def with_options(
        self,
        *,
        auth: AuthArgument | Unset = UNSET,
        base_url: str | Unset = UNSET,
        headers: Headers | Unset = UNSET,
        timeout: float | Unset | None = UNSET,
        retry: RetryPolicy | Unset = UNSET,
        on_event: Hook | Unset | None = UNSET,
    ) -> Self:
        """A view on this client with other options: the same connections, closed with this client and not before.

        It is of the same class and has the same attributes. `headers` are added to the client's own. With `auth=None`
        its calls raise LoginRequiredError: a view for somebody without a token never takes the one in the environment.
        """
        with bare:
            view = type(self).__new__(type(self))
            for name, value in _attributes(self).items():
                mine = isinstance(value, Bound) and value._client is self  # pyright: ignore[reportPrivateUsage]  # of this file
                object.__setattr__(view, name, type(value)(view) if mine else value)
            view._options = self._options.changed(
                auth=NOBODY if auth is None else auth,
                base_url=base_url,
                headers=headers,
                timeout=timeout,
                retry=retry,
                observer=on_event,
            )
            object.__setattr__(view, "base_url", view._options.base_url)
            view._is_view = True
            if view._options.auth.tracked is not None:
                with suppress(TypeError):  # those that take no weak reference drain when their own view closes
                    self._tracked[id(view._options.auth.tracked)] = view._options.auth.tracked
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

        `path` starts with a slash; its `{name}` parts are filled from `path_params`, quoted. A list in `query` repeats
        its key. `body` is sent as JSON: None as null, left out as no body. Raises APIError, NetworkError, DecodeError,
        AuthError.
        """
        with bare:
            if not isinstance(method, str) or not TOKEN.fullmatch(method):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers need not check types
                raise ValueError(f"{method!r} is no HTTP method")
            call = self.call(method.upper(), fill(path, path_params), body, query=query, headers=headers)
            answer = await self.pipeline.send(call)
            return Response(answer.status, answer.headers, read_any(answer))

    def record(self) -> AbstractContextManager[list[Answered]]:
        """`with client.record() as calls:` collects what the calls of this task were answered, beside their models.

        Each has `status`, `headers`, `request_id` and `attempts`. Calls of views count too.
        """
        return recording(self.pipeline)

    def call(
        self,
        method: str,
        path: str,
        body: Any = UNSET,
        *,
        query: Query | None = None,
        headers: Headers | None = None,
        token: bool = True,
        bare: bool = False,
        opens: bool = False,
        upgrade: Callable[[], Headers] | None = None,
    ) -> Call:
        """What is to be sent to a path that is already filled. Raises ValueError or TypeError for what cannot be."""
        options = self._options
        text = query_string(query) if query else ""
        if len(options.base_url) + len(path) + len(text) > _LONGEST_URL:
            raise ValueError(f"a URL of more than {_LONGEST_URL:,} characters: an id or the query is too long")
        own = {**options.headers, **checked_headers(headers)} if headers else None
        if not token:
            own = {name: value for name, value in (own or options.headers).items() if name != "Authorization"}
        given = (own or options.headers).get("Authorization")
        wanted, source, who = token and given is None, options.auth.source, options.auth.who
        if not wanted:
            source, who = "" if given is None else "given as the header Authorization", given
        content = None if body is UNSET else dump(body)
        return Call(options, method, path, text, own, content, wanted, source, who, bare, opens, upgrade)

    async def aclose(self) -> None:
        """Close the connections, once a renewal under way has come to its end.

        A view leaves the connections to the client that it was made from.
        """
        failures: list[Exception] = []

        async def drain(tracked: TrackedCredentials) -> None:
            try:
                await tracked.drain()
            except Exception as error:  # credentials are user code, and may raise anything
                failures.append(error)

        try:
            if not closed(self.pipeline.pool.loop.served):
                async with anyio.create_task_group() as group:
                    for tracked in self._drained():
                        group.start_soon(drain, tracked)
        finally:
            if not self._is_view:
                await self.pipeline.pool.aclose()
        if failures:
            raise failures[0]

    def _drained(self) -> list[TrackedCredentials]:
        """The credentials whose renewals a close waits for: its own, and those of all views if it is no view."""
        own = self._options.auth.tracked
        found = {} if self._is_view else dict(self._tracked)
        return list((found if own is None else {id(own): own, **found}).values())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    if not TYPE_CHECKING:  # or a type checker would not say that `with` is wrong, or that there is no such attribute

        def __setattr__(self, name: str, value: object) -> None:
            if name == "base_url" and "pipeline" in vars(self):  # by now it would change nothing but what is shown
                raise AttributeError("base_url cannot be set: with_options(base_url=…) gives a view with another one")
            super().__setattr__(name, value)

        def __enter__(self) -> NoReturn:
            raise TypeError(f"write `async with` in place of `with`: a {type(self).__name__} is closed asynchronously")

        __exit__ = None  # so that nothing takes it for a context manager of this kind

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{' view' if self._is_view else ''} of {self.base_url}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} has connections and cannot be copied or pickled: make another one")


def _attributes(client: BaseClient) -> dict[str, Any]:
    """What a view has of its client: all but what was worked out from that client, as its resources were."""
    state: Any = object.__getstate__(client)
    found: dict[str, Any] = state[0] | state[1] if state.__class__ is tuple else state  # the second are those in slots
    derived = {name for name in found if isinstance(getattr_static(type(client), name, None), cached_property)}
    return {name: value for name, value in found.items() if name not in derived}
