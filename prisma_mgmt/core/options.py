"""What a client or a view is set to, and the Request (URL, Host, token) that is made of it and a call."""

from collections.abc import Awaitable, Callable, Hashable, Mapping
from functools import lru_cache, partial
from typing import Protocol, TypeAlias, TypeVar

from attrs import define, field, frozen

from prisma_mgmt.checks import checked_token
from prisma_mgmt.core.clock import Clock
from prisma_mgmt.core.connection import Origin, Request
from prisma_mgmt.core.headers import Fields
from prisma_mgmt.core.retry import RetryPolicy
from prisma_mgmt.credentials import Credentials, TrackedCredentials
from prisma_mgmt.errors import PrismaError
from prisma_mgmt.masks import Secret, SecretBytes

T = TypeVar("T")
About: TypeAlias = tuple[str, str, str, int]  # a call's method, route and base URL, and how often it was sent


@frozen
class Auth:
    """Where the tokens of a client come from.

    `source` says it in the text of a 401. `who` is the same for the same credentials.
    """

    credentials: Credentials = field(repr=False)
    source: str
    tracked: TrackedCredentials | None = field(default=None, repr=False)
    who: Hashable = field(default=None, repr=False)


class Told(Protocol):
    """Whom the pipeline tells what happens to a call."""

    async def watched(self, about: About, send: Callable[[], Awaitable[T]], clock: Clock) -> T: ...
    def retrying(self, about: About, delay: float, error: PrismaError) -> None: ...
    def renewed(self, about: About, duration: float, renewed: bool) -> None: ...


@define(eq=False)
class Options:
    """The options of a view. They are replaced, and never changed but for what they remember of `request`."""

    base_url: str
    headers: dict[str, str] = field(repr=False)
    timeout: float | None
    retry: RetryPolicy
    auth: Auth
    observer: Told | None
    origin: Origin = field(init=False, repr=False)
    prefix: str = field(init=False, repr=False)  # of every path
    _usual: Callable[[str | None, bool], Fields] = field(init=False, repr=False)  # the view's own, made once a token

    def __attrs_post_init__(self) -> None:
        self.origin = Origin.of(self.base_url)
        self.prefix = "/".join(["", *self.base_url.split("/")[3:]])
        self._usual = lru_cache(maxsize=2)(partial(_fields, self.headers, self.origin))

    def request(
        self, method: str, path: str, token: str | None, headers: Mapping[str, str] | None, body: SecretBytes | None
    ) -> Request:
        """The request to a path, which ends with the query. Raises TypeError or ValueError for what is no token.

        Its headers are those of the view, unless the call has `headers` of its own.
        """
        has_body = body is not None
        fields = self._usual(token, has_body) if headers is None else _fields(headers, self.origin, token, has_body)
        return Request(method, self.origin, self.prefix + path, fields, body)


def _fields(headers: Mapping[str, str], origin: Origin, token: str | None, has_body: bool) -> Fields:
    """The headers that are sent to `origin`."""
    sent = dict(headers)
    sent.setdefault("Host", origin.netloc)
    if token is not None:
        sent["Authorization"] = Secret(f"Bearer {checked_token(token, 'the token of the credentials')}")
    if has_body:
        sent.setdefault("Content-Type", "application/json")
    return Fields(sent.items())
