"""A session as an httpx.Auth."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any

import httpx

from prisma_mgmt.auth.endpoint import bearer
from prisma_mgmt.checks import checked_origin
from prisma_mgmt.credentials import Credentials, TrackedCredentials, knew_the_token
from prisma_mgmt.environment import API_URL, variable
from prisma_mgmt.masks import Secret, SecretBytes, bare, masked


class SessionAuth(httpx.Auth):
    """Sends a session's token with every request of an httpx.AsyncClient, and renews it on a 401.

    origin: the one origin that the token goes to: by default the API's, which is that of PRISMA_MANAGEMENT_API_URL if
        that is set. A request to any other is a ValueError; give it `auth=None` if it needs no token.
    """

    def __init__(self, session: Credentials, *, origin: str | None = None) -> None:
        origin = (variable(API_URL) or "https://api.prisma.io") if origin is None else origin
        self._origin = origin_of(checked_origin(origin, "origin"))
        self._session = session

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if (origin := origin_of(request.url)) != self._origin:
            raise ValueError(f"the session's token goes to {self._origin} only, not to {origin}: see origin=")
        sending = _Sending(self._session, request)
        await sending.authorize(None)
        response = yield request
        if origin_of(response.request.url) != origin:  # after a redirect, with which httpx sends no token
            return
        if response.status_code == 401:
            await response.aread()  # gives the connection back before anybody waits for the refresh
            renewed = await self._session.renew(sending.token)
            if renewed is None or not isinstance(request.stream, httpx.ByteStream):  # any other body is gone
                return
            await sending.authorize(renewed)
            response = yield request
        if knew_the_token(response.status_code) and isinstance(self._session, TrackedCredentials):
            self._session.accepted(sending.token)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        raise RuntimeError(f"a session is asynchronous: send this {request.method} with httpx.AsyncClient")


class _Sending:
    """One request on its way. It may wait long for a connection, so httpcore tells of each step."""

    def __init__(self, session: Credentials, request: httpx.Request) -> None:
        self._session, self._request = session, request
        then = request.extensions.get("trace")
        if isinstance(then, _Sending):  # the request has been sent before, perhaps for somebody else
            then = then._then
        self._then: Callable[[str, Mapping[str, Any]], Awaitable[None]] | None = then
        request.extensions = {**request.extensions, "trace": self}

    async def authorize(self, token: str | None) -> SecretBytes:
        """Put a token into the request's header: `token`, or the session's; AuthError if it cannot stand there.

        It is remembered as the session knows it, which may be with white space around it.
        """
        with bare:
            self.token: Secret = masked(token or await self._session.access_token())
            self._request.headers["Authorization"] = value = Secret(f"Bearer {bearer(self.token)}")
            return SecretBytes(value.encode())

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":  # HTTP/2 does not bear that anybody waits there
            sent, tracked = info["request"], self._session if isinstance(self._session, TrackedCredentials) else None
            names = [name.lower() for name, _ in sent.headers]
            # without a token it goes to a proxy, or elsewhere by now
            if b"authorization" in names and tracked is not None and tracked.outdated(self.token):
                sent.headers[names.index(b"authorization")] = (b"Authorization", await self.authorize(None))
        if self._then is not None:
            await self._then(event, info)


def origin_of(url: httpx.URL | str) -> str:
    """The origin of a URL as browsers write it: in small letters, no user, and no port that goes without saying.

    Raises ValueError for a host or a port that cannot be.
    """
    try:
        url = httpx.URL(url)
    except httpx.InvalidURL as error:  # which is no ValueError
        raise ValueError(f"{url} has a host or port that cannot be: {error}") from None
    return f"{url.scheme}://{url.netloc.decode()}"
