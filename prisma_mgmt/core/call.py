"""A call before it is sent, and the answer to it."""

from collections.abc import Callable, Hashable, Mapping
from typing import Protocol, TypeAlias, TypeVar

from attrs import define, field

from prisma_mgmt.core.connection import Readable
from prisma_mgmt.core.headers import request_id
from prisma_mgmt.core.options import Options
from prisma_mgmt.core.paths import route
from prisma_mgmt.core.pool import Place
from prisma_mgmt.errors import DecodeError, NetworkError, PrismaError, RequestTimeoutError
from prisma_mgmt.masks import SecretBytes

E = TypeVar("E", bound=PrismaError)
F = TypeVar("F", NetworkError, RequestTimeoutError, DecodeError)


@define(eq=False)
class Call:
    """A request before it has a token, and what has become of it so far."""

    options: Options = field(repr=False)
    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)  # all of them; None for those of the options
    body: SecretBytes | None = field(default=None, repr=False)
    wants_token: bool = True  # false if it needs none, or if the caller gave a header Authorization
    token_from: str = ""  # what an error says of it
    who: Hashable = field(default=None, repr=False)  # whose calls a 429 to this one holds back
    bare: bool = False  # its answer has no envelope
    opens: bool = False  # the body of its answer stays open
    upgrade: Callable[[], Mapping[str, str]] | None = None  # makes the headers that ask for another protocol, each time
    sent: int = 0  # how often
    renewed: bool = False  # after a 401
    acted: bool = False  # an earlier try may have reached the server's storage
    failure: PrismaError | None = None  # of the last try, if this is another one
    until: float = float("inf")  # when no further try begins, by the monotonic clock

    @property
    def url(self) -> str:
        return self.options.base_url + self.path + self.query

    @property
    def about(self) -> tuple[str, str, str, int]:
        """What those who observe are told."""
        return self.method, route(self.path), self.options.base_url, self.sent

    def named(self, error: E) -> E:
        """`error`, which says that it is about this call, and how often that was sent."""
        error.method, error.url, error.attempts = self.method, self.url, max(1, self.sent)
        return error


class Body(Readable, Protocol):
    """A body that is still to come, and holds its connection until it is closed. Reading raises NetworkError."""

    async def aclose(self) -> None: ...


@define(eq=False)
class Answer:
    """What came back, before anybody has read it."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)  # may hold a secret
    open: Place | None = field(default=None, repr=False)  # its body is still to come, and read there
    call: Call | None = None
    bare: bool = False  # it has no envelope `{"data": …}`
    engine: str = ""  # what carried it

    @property
    def request_id(self) -> str | None:
        return request_id(self.headers)

    def error(self, kind: type[F], told: str) -> F:
        """An error that says which answer it is about, and to which call."""
        made = kind(told, status=self.status, request_id=self.request_id)
        return made if self.call is None else self.call.named(made)


Outcome: TypeAlias = Answer | NetworkError
