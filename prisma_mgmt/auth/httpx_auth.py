"""A session as an httpx.Auth."""

from collections.abc import AsyncGenerator, Generator

import httpx

from prisma_mgmt.auth.endpoint import bearer
from prisma_mgmt.checks import checked_origin
from prisma_mgmt.credentials import Credentials, TrackedCredentials, knew_the_token
from prisma_mgmt.environment import API_URL, variable
from prisma_mgmt.masks import Secret, bare, masked


class SessionAuth(httpx.Auth):
    """Sends a session's token with every request of an httpx.AsyncClient, and renews it on a 401.

    origin: the one origin that the token goes to: by default the API's, which is that of PRISMA_MANAGEMENT_API_URL if
        that is set. A request to any other is a ValueError; give it `auth=None` if it needs no token.
    """

    def __init__(self, session: Credentials, *, origin: str | None = None) -> None:
        if origin is None:
            origin = variable(API_URL) or "https://api.prisma.io"
        self._origin = _origin(httpx.URL(checked_origin(origin, "origin")))
        self._session = session

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if (origin := _origin(request.url)) != self._origin:
            raise ValueError(f"the session's token goes to {self._origin} only, not to {origin}: see origin=")
        token = await self._authorize(request, None)
        response = yield request
        if response.status_code == 401:
            await response.aread()  # gives the connection back before anybody waits for the refresh
            renewed = await self._session.renew(token)
            if renewed is None or not isinstance(request.stream, httpx.ByteStream):  # any other body is gone
                return
            token = await self._authorize(request, renewed)
            response = yield request
        if knew_the_token(response.status_code) and isinstance(self._session, TrackedCredentials):
            self._session.accepted(token)

    async def _authorize(self, request: httpx.Request, token: str | None) -> Secret:
        """Put a token into a request's header: `token`, or the session's; AuthError if it cannot stand there.

        It is given back as the session knows it, which may be with white space around it.
        """
        with bare:
            known: Secret = masked(token or await self._session.access_token())
            request.headers["Authorization"] = Secret(f"Bearer {bearer(known)}")
            return known

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        raise RuntimeError(f"a session is asynchronous: send this {request.method} with httpx.AsyncClient")


def _origin(url: httpx.URL) -> str:
    """The origin of a URL in its normal form: no user, and no port that goes without saying."""
    return f"{url.scheme}://{url.netloc.decode()}"
