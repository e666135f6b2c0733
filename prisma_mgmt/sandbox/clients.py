"""Sandbox: a local Prisma, and clients of prisma_mgmt that are set up for it.

This is the one file of the sandbox that knows the rest of the package.
"""

from typing import Any

import httpx

from prisma_mgmt import DataPlatformClient, ManagementClient, PostgresClient
from prisma_mgmt.auth import OAuthClient, OAuthSession
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.sandbox.server import LocalPrisma

REDIRECT_URI = "http://127.0.0.1/callback"


class Sandbox(LocalPrisma):
    """A local Prisma: its three APIs and its login server on one port, for as long as the `with` block runs.

    `with Sandbox() as sandbox:` and `async with Sandbox() as sandbox:` serve it from a thread, on a loopback socket;
    `sandbox.app` serves it in this process without one, through `httpx.ASGITransport(sandbox.app)`.

    host, port: where it listens; port 0 is a free one.
    users: the names of those who may log in, each with a workspace; by default there is one.
    redirect_uris: where apps may send them back to; a loopback address may have any port. By default `/callback` and
        `/auth/callback` of this machine.
    personality: `strict` revokes a whole login if one of its refresh tokens is used twice; `grace` forgives one reuse
        within ten seconds.
    auto_approve: log in without the consent page.
    token_lifetime: how long an access token lives, in seconds.
    revocation: serve the login server's revocation endpoint (RFC 7009).
    postgres: the DSN of a PostgreSQL that backs the sandbox's databases, or "auto" to start one; without it the
        hosts in database URLs resolve nowhere.
    clock: gives Unix seconds; see `advance`.

    Besides what is listed below, a sandbox tells `client_secret`, the secret of the confidential client;
    `workspace_id`, the workspace of the first user and of the service token; and `approval_id`, an agent approval to
    look up.
    """

    def client(self, **options: Any) -> ManagementClient:
        """A client of the Management API with the service token; `options` are ManagementClient's, `auth` included."""
        return ManagementClient(**self._options(self.api_url, options))

    def postgres_client(self, **options: Any) -> PostgresClient:
        """A client of the Prisma Postgres Management API; `options` are PostgresClient's."""
        return PostgresClient(**self._options(self.postgres_url, options))

    def data_platform_client(self, **options: Any) -> DataPlatformClient:
        """A client of the Prisma Data Platform API; `options` are DataPlatformClient's."""
        return DataPlatformClient(**self._options(self.data_platform_url, options))

    def oauth_client(
        self, redirect_uri: str = REDIRECT_URI, *, confidential: bool = False, **options: Any
    ) -> OAuthClient:
        """An OAuth client whose `redirect_uri` is registered by this call; `options` are OAuthClient's.

        confidential: be the sandbox's web app, which has a client secret, and not the public one.
        """
        client_id = self.confidential_client_id if confidential else self.client_id
        self._login.register(client_id, redirect_uri)
        secret = {"client_secret": self.client_secret} if confidential else {}
        options = {"auth_base_url": self.auth_url, **secret, **self._transport(), **options}
        return OAuthClient(client_id, redirect_uri, **options)

    async def session(self, user: str | None = None) -> OAuthSession:
        """A user's session, logged in without a browser; `user` is a name, the first user by default.

        Pass it to a client: `sandbox.client(auth=await sandbox.session("Ada"))`.
        """
        oauth = self.oauth_client()
        login = oauth.login_url()
        callback_url = self._login.approve(login.url, user)
        session = OAuthSession(oauth, MemoryTokenStorage())
        await session.handle_callback(callback_url, login)
        return session

    def _options(self, base_url: str, options: dict[str, Any]) -> dict[str, Any]:
        return {"auth": self.service_token, "base_url": base_url, **self._transport(), **options}

    def _transport(self) -> dict[str, httpx.ASGITransport]:
        """How to reach a sandbox that is served in this process."""
        if self._running is not None:
            return {}
        return {"transport": httpx.ASGITransport(self.app)}
