"""What a client asks of whoever gives it tokens (Credentials), and ServiceToken."""

from typing import NoReturn, Protocol, runtime_checkable

from prisma_mgmt.checks import checked_token
from prisma_mgmt.masks import Secret, masked


@runtime_checkable
class Credentials(Protocol):
    """Gives tokens to a client. Any object with these two methods can be passed as `auth=`.

    The client asks for a token, sends, and on a 401 calls `renew` once and sends again.
    """

    async def access_token(self) -> str:
        """The token to send now."""
        ...

    async def renew(self, rejected: str) -> str | None:
        """A token other than `rejected`, or None if there is no other one."""


@runtime_checkable
class TrackedCredentials(Credentials, Protocol):
    """Credentials that follow what becomes of their tokens. The three methods come together or not at all."""

    def accepted(self, token: str) -> None:
        """The API accepted `token`."""

    def outdated(self, token: str) -> bool:
        """Return True if sending `token` would only earn a 401; the client then calls `renew` before it sends."""
        ...

    async def drain(self) -> None:
        """Wait for a renewal under way; a client calls this when it closes."""


def knew_the_token(status: int) -> bool:
    """If whoever answered knew that the token was good: a gateway may give these others before anybody has looked."""
    return status < 500 and status not in (400, 401, 408, 429)


class ServiceToken:
    """A workspace's service token. It cannot be renewed.

    name: what an error calls it.

    Raises ValueError for a token that is blank or cannot be sent in a header, TypeError for one that is not a string.
    """

    __slots__ = ("_token", "name")

    def __init__(self, token: str, name: str = "the service token") -> None:
        token = masked(token)  # a traceback would show it
        self.name: str = name
        self._token: Secret = checked_token(token, name)

    async def access_token(self) -> str:
        """The token, which is always the same."""
        return self._token

    async def renew(self, rejected: str) -> None:  # the seam's signature
        """None: there is no other token."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServiceToken) and other._token == self._token

    def __hash__(self) -> int:
        return hash(self._token)

    def __repr__(self) -> str:
        return f"<ServiceToken: {self.name}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ServiceToken holds a secret and cannot be pickled; read it from the environment over there")
