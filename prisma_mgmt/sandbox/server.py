"""The sandbox itself: what it is made of, how it starts and ends, what tests ask of it, and its clients.

This is the one file of the sandbox that knows the rest of the package, since it hands out clients.
"""

import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Self, get_args
from urllib.parse import urlsplit

import httpx
from starlette.types import ASGIApp

from prisma_mgmt import DataPlatformClient, ManagementClient, PostgresClient
from prisma_mgmt.auth import OAuthClient, OAuthSession
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.sandbox import control
from prisma_mgmt.sandbox.api import Application
from prisma_mgmt.sandbox.arguments import LONGEST, check, is_number, is_text, is_whole, texts
from prisma_mgmt.sandbox.backing import Backing
from prisma_mgmt.sandbox.description import describe
from prisma_mgmt.sandbox.door import OWN, Door
from prisma_mgmt.sandbox.faults import Fault
from prisma_mgmt.sandbox.oauth import LoginServer
from prisma_mgmt.sandbox.requests import RecordedRequest
from prisma_mgmt.sandbox.serving import serving
from prisma_mgmt.sandbox.state import World, new_id
from prisma_mgmt.sandbox.tokens import Client, Personality, Tokens

LOOPBACK = [f"http://{host}{path}" for host in ("localhost", "127.0.0.1", "[::1]") for path in ("/", "/auth/")]
REDIRECT_URIS = (*(f"{it}callback" for it in LOOPBACK), "https://app.example/callback")


class Sandbox:
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

    client_id = "sandbox-app"
    confidential_client_id = "sandbox-web-app"

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        users: Sequence[str] = ("Sandbox Developer",),
        redirect_uris: Sequence[str] = REDIRECT_URIS,
        personality: Personality = "strict",
        auto_approve: bool = True,
        token_lifetime: float = 3600.0,
        revocation: bool = False,
        postgres: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check(is_text(host), "host is a name or an address", host)
        check(personality in get_args(Personality), "personality is strict or grace", personality)
        check(is_whole(port, 0, 65535), "port is a number from 0 to 65535", port)
        check(is_number(token_lifetime, 1e-9, LONGEST), "token_lifetime is a number of seconds above 0", token_lifetime)
        check(postgres is None or is_text(postgres), 'postgres is a DSN or "auto"', postgres)
        check(callable(clock), "clock is a function", clock)
        self.client_secret: str = secrets.token_urlsafe(24)
        uris = texts(redirect_uris, "redirect_uris")
        check(not (odd := [it for it in uris if not urlsplit(it).scheme]), "redirect_uris are URIs with a scheme", odd)
        web = Client(self.confidential_client_id, "Sandbox web app", uris, self.client_secret)
        clients = {self.client_id: Client(self.client_id, "Sandbox app", uris), web.id: web}
        self._users = {new_id("usr"): (name, new_id("wksp")) for name in texts(users, "users")}
        self.workspace_id: str = next(iter(self._users.values()))[1]
        self._host, self._port, self._postgres = host, port, postgres
        self._origin, self._service_token = "", ""
        self._running: ExitStack | None = None
        self._world = World(clock)
        self.approval_id: str = self._world.approval_id
        self._tokens = Tokens(self._world, personality, token_lifetime)
        self._login = LoginServer(self._tokens, clients, auto_approve=auto_approve, revocation=revocation)
        apis = {api: Application(self._tokens, describe(api)) for api in ("management", "postgres", "data_platform")}
        self._door = Door(host, self._world, {**apis, "login": self._login, OWN: control.application(self)})
        self.faults: list[Fault] = self._door.faults
        self._populate()

    def _populate(self) -> None:
        """Let the users and the service token into a world that nothing has happened in."""
        for id, (name, workspace_id) in self._users.items():
            user = self._world.create_user(name, id=id)
            self._world.create_workspace(f"{name}'s workspace", user, id=workspace_id)
        self._service_token = self._tokens.issue_service_token(self.workspace_id, self._service_token or None)

    def _settle(self, origin: str, backing: Backing) -> None:
        """Take the base URLs from where the sandbox is served, and what stands behind its databases."""
        self._origin, self._tokens.issuer, self._world.backing = origin, f"{origin}/auth", backing

    # Start and end

    def __enter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("the sandbox is started already")
        with ExitStack() as stack:
            backing = Backing() if self._postgres is None else _open_postgres(self._postgres)
            stack.callback(backing.close)
            stack.callback(self._settle, "", Backing())
            server = stack.enter_context(serving(self._door, self._host, self._port))
            self._settle(_origin(self._host, server.port), backing)
            self._door.hang_up = server.hang_up
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()  # milliseconds: a cancellation finds it started or not, and nothing in between

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    @property
    def app(self) -> ASGIApp:
        """The sandbox as an ASGI application, to serve in this process; `api_url` is then http://localhost."""
        if not self._origin:
            if self._postgres is not None:
                raise RuntimeError("a sandbox with a PostgreSQL must be entered, so that it can leave that clean")
            self._settle("http://localhost", self._world.backing)
        return self._door

    # What is where

    @property
    def api_url(self) -> str:
        """The base URL of the Management API; RuntimeError before the start."""
        if not self._origin:
            raise RuntimeError("the sandbox is not started: write `with Sandbox() as sandbox:`, or serve `sandbox.app`")
        return self._origin

    @property
    def postgres_url(self) -> str:
        """The base URL of the Prisma Postgres Management API."""
        return self.api_url + "/postgres"

    @property
    def data_platform_url(self) -> str:
        """The base URL of the Prisma Data Platform API."""
        return self.api_url + "/data-platform"

    @property
    def auth_url(self) -> str:
        """The base URL of the login server, which is also its issuer."""
        return self.api_url + "/auth"

    @property
    def service_token(self) -> str:
        """The token that clients send; set it to one that a program has already."""
        return self._service_token

    @service_token.setter
    def service_token(self, token: str) -> None:
        check(re.fullmatch("[!-~]+", token) is not None, "a service token is of visible ASCII characters", token)
        with self._world:
            self._world.remove(self._world.things("access-tokens")[self._service_token])
            self._service_token = self._tokens.issue_service_token(self.workspace_id, token)

    @property
    def users(self) -> list[tuple[str, str]]:
        """Who may log in: the name of each user, and of a workspace of theirs."""
        with self._world:
            return [(user.name, one.name) for user, one in self._login.accounts().values()]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program that is to use the sandbox."""
        return {variable: value for _, variable, value in self._told() if variable}

    @property
    def places(self) -> dict[str, str]:
        """What is where, for people to read."""
        return {name: value for name, _, value in self._told() if name}

    def _told(self) -> list[tuple[str, str, str]]:
        """What programs and people are told: a name to read, a variable of the environment, and the value."""
        return [
            ("Start page", "", self.api_url + "/"),
            ("Management API", "PRISMA_MANAGEMENT_API_URL", self.api_url),
            ("Postgres API", "PRISMA_POSTGRES_API_URL", self.postgres_url),
            ("Data Platform API", "PRISMA_DATA_PLATFORM_API_URL", self.data_platform_url),
            ("Login server", "PRISMA_AUTH_URL", self.auth_url),
            ("Client id", "PRISMA_CLIENT_ID", self.client_id),
            ("Web app's client id", "", self.confidential_client_id),
            ("Web app's secret", "", self.client_secret),
            ("Service token", "PRISMA_SERVICE_TOKEN", self.service_token),
            ("", "PRISMA_WORKSPACE_ID", self.workspace_id),
        ]

    # What happened

    @property
    def requests(self) -> list[RecordedRequest]:
        """What was asked so far, oldest first, secrets masked: the last 10,000 requests."""
        return [one.told for one in list(self._door.kept)]

    def on_request(self, tell: Callable[[RecordedRequest], object]) -> None:
        """Have every request told as it is answered, in the thread that serves it."""
        self._door.on_request = tell

    @property
    def counts(self) -> Counter[str]:
        """What happened so far: authorize, exchange, refresh, refresh_refused, api, unauthenticated, faults."""
        with self._world:
            return self._world.counts + Counter(faults=sum(one.met for one in self.faults))

    # What is to happen

    def fail(
        self, route: str, status: int = 503, times: int = 1, retry_after: float | None = None, code: str | None = None
    ) -> Fault:
        """Answer the next `times` requests of a route with an error, without doing what they ask.

        route: "GET /v1/projects", "DELETE /v1/projects/{id}", "POST /token" (the login server's), or "*" for any.
        status: 400 to 599; `code` is the error's code, the API's own for that status by default.
        retry_after: seconds in the answer's Retry-After header.

        The fault that comes back tells `met`, how often it happened. Raises ValueError for a route that is none.
        """
        return self.ask(Fault(route, "fail", times, status, retry_after, code))

    def delay(self, route: str, seconds: float, times: int = 1) -> Fault:
        """Answer the next `times` requests of a route late, by real seconds and not the clock's."""
        return self.ask(Fault(route, "delay", times, seconds=seconds))

    def cut(self, route: str, times: int = 1) -> Fault:
        """Cut the connection of the next `times` requests of a route, in place of an answer."""
        return self.ask(Fault(route, "cut", times))

    def ask(self, fault: Fault) -> Fault:
        """Let a fault happen; `fail`, `delay` and `cut` make one."""
        return self._door.ask(fault)

    def advance(self, seconds: float) -> None:
        """Set the sandbox's clock forward: tokens expire, databases get ready, backups are made."""
        self._world.advance(seconds)

    def expire_access_tokens(self) -> None:
        """Answer 401 to every access token that a login or refresh has given so far."""
        with self._world:
            self._tokens.forget("access-tokens")

    def revoke_refresh_tokens(self) -> None:
        """Refuse every refresh token given so far; access tokens live on."""
        with self._world:
            self._tokens.forget("refresh-tokens")

    def reset(self) -> None:
        """Forget everything that was made and asked; URLs, users, workspaces and the service token stay."""
        with self._world:
            self._world.backing.clear()
            self._world.forget()
            self._populate()
            self.faults.clear()
            self._door.kept.clear()

    # Clients

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
        self, redirect_uri: str = "http://127.0.0.1/callback", *, confidential: bool = False, **options: Any
    ) -> OAuthClient:
        """An OAuth client whose `redirect_uri` is registered by this call; `options` are OAuthClient's.

        confidential: be the sandbox's web app, which has a client secret, and not the public one.
        """
        id, secret = (self.confidential_client_id, self.client_secret) if confidential else (self.client_id, None)
        self._login.register(id, redirect_uri)
        options = {"auth_base_url": self.auth_url, "client_secret": secret, **self._transport(), **options}
        return OAuthClient(id, redirect_uri, **options)

    async def session(self, user: str | None = None) -> OAuthSession:
        """A user's session, logged in without a browser; `user` is a name, the first user by default.

        Pass it to a client: `sandbox.client(auth=await sandbox.session("Ada"))`.
        """
        oauth = self.oauth_client()
        login = oauth.login_url()
        session = OAuthSession(oauth, MemoryTokenStorage())
        await session.handle_callback(self._login.approve(login.url, user), login)
        return session

    def _options(self, base_url: str, options: dict[str, Any]) -> dict[str, Any]:
        return {"auth": self.service_token, "base_url": base_url, **self._transport(), **options}

    def _transport(self) -> dict[str, httpx.ASGITransport]:
        """How to reach a sandbox that is served in this process."""
        return {"transport": httpx.ASGITransport(self.app)} if self._running is None else {}


def _open_postgres(dsn: str) -> Backing:
    try:
        from prisma_mgmt.sandbox.postgres import PostgresBacking
    except ModuleNotFoundError:
        raise ImportError("Sandbox(postgres=…) needs asyncpg: install prisma-mgmt[sandbox,postgres]") from None
    return PostgresBacking(dsn)


def _origin(host: str, port: int) -> str:
    """Where a server is reached on its own machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # listening everywhere, if told to
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
