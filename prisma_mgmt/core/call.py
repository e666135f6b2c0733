"""What travels: the options of a client, a call before it is sent, and the answer to it."""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Protocol, TypeAlias, TypeVar

from attrs import define, field, frozen

from prisma_mgmt.checks import checked_token
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.connection import Fields, Origin, Request, request_id
from prisma_mgmt.core.retry import RetryPolicy
from prisma_mgmt.credentials import Credentials, TrackedCredentials
from prisma_mgmt.errors import (
    AuthError,
    DecodeError,
    LoginRequiredError,
    NetworkError,
    PrismaError,
    RequestTimeoutError,
)
from prisma_mgmt.masks import Secret, SecretBytes

E = TypeVar("E", bound=PrismaError)
F = TypeVar("F", NetworkError, RequestTimeoutError, DecodeError)


@frozen
class Auth:
    """Where the tokens of a client come from.

    `source` says it in the text of a 401. `lacking` is the error of calls that find none. `who` is the same for the
    same credentials.
    """

    credentials: Credentials | None = field(repr=False)
    source: str
    lacking: tuple[type[AuthError], str] = (LoginRequiredError, "no token")
    tracked: TrackedCredentials | None = field(default=None, repr=False)
    who: Hashable = field(default=None, repr=False)


class Told(Protocol):
    """Whom the pipeline tells what happens to a call."""

    async def watched(self, call: "Call", send: "Callable[[], Awaitable[Outcome]]", clock: Clock) -> "Outcome": ...
    def retrying(self, call: "Call", seconds: float, error: PrismaError) -> None: ...
    def renewed(self, call: "Call", seconds: float, renewed: bool) -> None: ...


@define(eq=False)
class Options:
    """What a view of a client may change. It is replaced, and never changed but for what it remembers of `fields`."""

    base_url: str
    headers: dict[str, str] = field(repr=False)
    timeout: float | None
    retry: RetryPolicy
    auth: Auth
    observer: Told | None
    origin: Origin = field(init=False, repr=False)
    prefix: str = field(init=False, repr=False)  # of every path
    _token: str | None = field(default=None, init=False, repr=False)
    _ready: dict[bool, Fields] = field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.origin = Origin.of(self.base_url)
        self.prefix = "/".join(["", *self.base_url.split("/")[3:]])

    def fields(self, token: str | None, *, body: bool) -> Fields:
        """The headers of a request without any of its own, made anew if the token is not the last one."""
        if token is not self._token and token != self._token:
            self._ready, self._token = {}, token
        if body not in self._ready:
            self._ready[body] = self.made(self.headers, token, body=body)
        return self._ready[body]

    def made(self, headers: Mapping[str, str], token: str | None, *, body: bool) -> Fields:
        """All headers of a request. Raises TypeError or ValueError for a token that no header can carry."""
        sent = dict(headers)
        sent.setdefault("Host", self.origin.netloc)
        if token is not None:
            sent["Authorization"] = Secret(f"Bearer {checked_token(token, 'the token of the credentials')}")
        if body:
            sent.setdefault("Content-Type", "application/json")
        return Fields(sent.items())


class Upgrade(Protocol):
    """What asks for another protocol after the answer."""

    def headers(self) -> Mapping[str, str]:
        """The headers that ask, new ones for every request."""
        ...

    def messages(self, answer: "Answer") -> "Body":
        """What comes over the other protocol. Raises DecodeError if the server did not switch."""
        ...


@define(eq=False)
class Call:
    """A request before it has a token, and what has become of it so far."""

    options: Options = field(repr=False)
    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)  # all of them; None for those of the options
    body: SecretBytes | None = field(default=None, repr=False)
    anonymous: bool = False  # needs no token, and is sent none
    wants_token: bool = True  # false if it is anonymous, or the caller gave a header Authorization
    opens: bool = False  # the body of its answer stays open
    upgrade: Upgrade | None = None
    sent: int = 0  # how often
    token: str | None = field(default=None, repr=False)  # what it was sent with last
    renewed: bool = False  # after a 401
    acted: bool = False  # an earlier try may have reached the server's storage
    failure: PrismaError | None = None  # of the last try, if this is another one
    until: float = float("inf")  # when no further try begins, by the monotonic clock

    @property
    def url(self) -> str:
        return self.options.base_url + self.path + self.query

    @property
    def token_from(self) -> str:
        """Where the token came from."""
        if self.token is not None:
            return self.options.auth.source
        return "" if self.anonymous else "given as the header Authorization"

    @property
    def who(self) -> Hashable:
        """Whose calls a 429 to this one holds back."""
        if self.wants_token:
            return self.options.auth.who
        return None if self.anonymous else (self.headers or self.options.headers)["Authorization"]

    def request(self, token: str | None) -> Request:
        options, body = self.options, self.body is not None
        if self.headers is None and self.upgrade is None and not self.anonymous:
            fields = options.fields(token, body=body)
        else:
            headers = dict(options.headers if self.headers is None else self.headers)
            if self.anonymous:
                headers.pop("Authorization", None)
            if self.upgrade is not None:
                headers |= self.upgrade.headers()
            fields = options.made(headers, token, body=body)
        return Request(self.method, options.origin, options.prefix + self.path + self.query, fields, self.body)

    def named(self, error: E) -> E:
        """`error`, which says that it is about this call, and how often that was sent."""
        error.method, error.url, error.attempts = self.method, self.url, max(1, self.sent)
        return error


class Body(Protocol):
    """A body that is still to come, and holds its connection until it is closed."""

    async def read(self) -> bytes:
        """What comes next, b"" at the end. Raises NetworkError."""
        ...

    async def aclose(self) -> None: ...


class OpenBody(Body, Protocol):
    """The body of an answer; after a 101 it is the bare connection."""

    async def write(self, data: bytes) -> None:
        """Send after a 101. Raises what the socket raises."""
        ...


@define(eq=False)
class Answer:
    """What came back, before anybody has read it."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)  # may hold a secret
    open: OpenBody | None = None
    call: Call | None = None
    engine: str = ""  # what carried it

    @property
    def request_id(self) -> str | None:
        return request_id(self.headers)

    def error(self, kind: type[F], told: str) -> F:
        """An error that says which answer it is about, and to which call."""
        made = kind(told, status=self.status, request_id=self.request_id)
        return made if self.call is None else self.call.named(made)


Outcome: TypeAlias = Answer | NetworkError
