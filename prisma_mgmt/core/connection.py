"""What the pool asks of each way of sending (over_httpx.py, http1.py), and the request that it hands to them.

Nothing here, in the pool or in the pipeline knows what library does the sending.
"""

from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from attrs import define, field, frozen

from prisma_mgmt.core.headers import Fields
from prisma_mgmt.errors import PrismaError
from prisma_mgmt.masks import SecretBytes

BODIED = frozenset({"POST", "PUT", "PATCH"})  # methods that tell the length of their body, though they have none


@frozen
class Origin:
    """A server: what a connection leads to.

    `netloc` is host and port as the header Host has them, without the port that the scheme means anyway.
    """

    scheme: str  # http or https
    host: str  # a name or an address, an IPv6 one without its brackets
    port: int
    netloc: str
    url: str  # scheme and netloc

    @classmethod
    def of(cls, url: str) -> "Origin":
        parts = urlsplit(url)
        scheme, host, usual = parts.scheme.lower(), parts.hostname or "", 443 if parts.scheme.lower() == "https" else 80
        port = parts.port or usual
        netloc = (f"[{host}]" if ":" in host else host) + ("" if port == usual else f":{port}")
        return cls(scheme, host, port, netloc, f"{scheme}://{netloc}")


class OutdatedError(PrismaError):
    """A token was replaced while its request waited to be sent."""


@define(eq=False)
class Request:
    """What is to be sent; a `body` of None is none at all.

    `outdated` tells if its token would only earn a 401.
    """

    method: str
    origin: Origin
    target: str = field(repr=False)  # path and query
    fields: Fields = field(repr=False)
    body: SecretBytes | None = field(default=None, repr=False)
    outdated: Callable[[], bool] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return self.origin.url + self.target

    def check(self) -> None:
        """Raise OutdatedError if the token was replaced; whoever has waited calls this before the request is sent."""
        if self.outdated is not None and self.outdated():
            raise OutdatedError("the token was replaced before the request was sent")


class Readable(Protocol):
    """What is read piece by piece."""

    async def read(self) -> bytes:
        """The next piece, b"" at the end, and each time after it."""
        ...


class Network(Readable, Protocol):
    """The bare connection after an answer of 101 Switching Protocols. Each method raises what the socket raises."""

    async def write(self, data: bytes) -> None: ...


@define(eq=False)
class Reply:
    """An answer whose head has come. What is read is its body as it came, still packed if it was."""

    status: int
    # By names in any case; those that came more than once are joined by commas. One may be a cookie.
    headers: Mapping[str, str] = field(repr=False)
    content: bytes | None = field(default=None, repr=False)  # the whole body, if it came with the head and is not read
    done: bool = False  # nothing of the body is still to come
    network: Network | None = None  # what to talk over after a 101

    async def read(self) -> bytes:
        """The next piece, b"" at the end, and each time after it."""
        if self.done:  # the connection may be busy with another answer
            part, self.content = self.content or b"", b""
            return part
        return await self.come()

    async def come(self) -> bytes:
        """What comes next; `done` says if that was the end."""
        raise NotImplementedError  # each engine says it

    async def aclose(self) -> None:
        """Let go of what is left of the body, without waiting for it.

        If nothing is left but its end, which nobody has read yet, the connection may be reusable afterwards.
        """


class Connection(Protocol):
    """Carries one request after the other.

    `send` may raise what it will: OSError, ssl.SSLError, or an error of the library below. If `ours` is true, all of
    those are taken for faults of the network. An answer that is not read to its end costs the connection.
    """

    ours: bool  # nothing but this package and the libraries below it runs in it; if false, it is never closed here
    engine: str  # what events call it
    made: bool  # or nothing of a request can have been sent

    @property
    def idle(self) -> bool:
        """The last answer was read to its end, and either side would go on."""
        ...

    @property
    def reusable(self) -> bool:
        """It is still idle, and nothing has come since; this is asked right before something is sent."""
        ...

    async def send(self, request: Request) -> Reply:
        """Send, and return when the answer's head has come."""
        ...

    async def aclose(self) -> None:
        """Close the socket, whatever state it is in. The last reply is closed already."""
        ...


class Engine(Protocol):
    """Makes connections."""

    async def connect(self, origin: Origin, *, upgrade: bool) -> Connection:
        """A connection of its own to `origin`, for a request that perhaps asks for an `upgrade` to another protocol.

        It may connect now, or when something is sent. What is raised here counts as unsent. A NetworkError is raised to
        the caller as it is, and not retried: it is for what no second try can mend, such as a missing CA file.
        """
        ...
