"""A session as an httpx.Auth."""

from collections.abc import AsyncGenerator, Generator

import httpx

from prisma_mgmt.credentials import Credentials


class SessionAuth(httpx.Auth):
    """Sends a session's token with every request of an httpx.AsyncClient, and renews it on a 401."""

    def __init__(self, session: Credentials) -> None:
        self._session = session

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await self._session.access_token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            await response.aread()  # gives the connection back before anybody waits for the refresh
            renewed = await self._session.renew(token)
            if renewed is None or not isinstance(request.stream, httpx.ByteStream):  # any other body is gone
                return
            token = renewed
            request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
        if response.status_code != 401 and (accepted := getattr(self._session, "accepted", None)):
            accepted(token)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        raise RuntimeError(f"a session is asynchronous: send this {request.method} with httpx.AsyncClient")
