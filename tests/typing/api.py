"""What a type checker sees of the public API; mypy and basedpyright read this, nothing runs it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal, Protocol, assert_type

import httpx

from prisma_mgmt import (
    Credentials,
    LogStream,
    ManagementClient,
    Page,
    Pager,
    PostgresClient,
    Response,
    RetryPolicy,
    ServiceToken,
)
from prisma_mgmt.auth import LoginRequest, OAuthClient, OAuthSession, SessionManager, SharedTokenStorage, Tokens
from prisma_mgmt.auth.storage import FileTokenStorage, MemoryTokenStorage
from prisma_mgmt.management.models import (
    BackupSource,
    BuildLogRecord,
    BuildLogTerminal,
    CreatedProject,
    Database,
    Project,
)


class Mine:
    """Credentials of a user's own, by structure alone."""

    async def access_token(self) -> str:
        return "token"

    async def renew(self, rejected: str) -> str | None:
        return None if rejected else "token"


class Kept:
    """A shared storage of a user's own, by structure alone."""

    async def get_tokens(self) -> Tokens | None:
        return None

    async def set_tokens(self, tokens: Tokens) -> None: ...

    async def clear_tokens(self) -> None: ...

    def refresh_lock(self) -> AbstractAsyncContextManager[None]:
        raise NotImplementedError

    async def set_tokens_if_current(self, tokens: Tokens, current: Tokens) -> bool:
        return tokens != current

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        return bool(tokens)


async def clients(http: httpx.AsyncClient, transport: httpx.AsyncBaseTransport) -> None:
    credentials: Sequence[Credentials] = [Mine(), ServiceToken("token")]
    ManagementClient()
    ManagementClient("token", retry=RetryPolicy(attempts=1), http_client=http)
    PostgresClient(credentials[0], transport=transport)
    async with ManagementClient(Mine()) as prisma:
        assert_type(prisma, ManagementClient)
        assert_type(prisma.with_options(timeout=None, headers={"x": "y"}), ManagementClient)
        answer = await prisma.request("GET", "/v1/me")
        assert_type(answer, Response)
        print(answer.body["data"][0])


async def resources(prisma: ManagementClient) -> None:
    project = await prisma.projects.create(name="shop", region="us-east-1")
    assert_type(project, CreatedProject)
    assert_type(project.created_at, datetime)
    assert_type(prisma.projects.list(), Pager[Project])
    assert_type(await prisma.projects.list(limit=10), Page[Project])
    async for database in prisma.databases.list(project_id=project.id):
        assert_type(database, Database)
        assert_type(database.branch_id, str | None)
        if database.status == "ready":  # an open enum: completed by editors, any string allowed
            await prisma.databases.restore(database.id, source=BackupSource("db", "backup"))
    async for page in prisma.databases.list().pages():
        assert_type(page.items, tuple[Database, ...])
    assert_type(await prisma.connections.delete("con"), None)
    kind: Literal["postgres"] = "postgres"
    await prisma.regions.list(product=kind)


async def auth(oauth: OAuthClient) -> None:
    login = oauth.login_url(extra_params={"utm_source": "x"})
    assert_type(login, LoginRequest)
    assert_type(SessionManager(oauth, lambda user: FileTokenStorage(f"{user}.json")), SessionManager[str])
    sessions: SessionManager[int] = SessionManager(oauth, lambda user: FileTokenStorage(f"{user}.json"), leeway=0)
    session = sessions[7]
    assert_type(session, OAuthSession)
    credentials: Credentials = session
    shared: SharedTokenStorage = Kept()
    OAuthSession(oauth, shared)
    OAuthSession(oauth, MemoryTokenStorage(), leeway=0)
    assert_type(await session.handle_callback("/callback", login), Tokens)
    assert_type(await session.tokens(), Tokens | None)
    httpx.AsyncClient(auth=session.httpx_auth(origin="https://api.prisma.io"))
    ManagementClient(credentials)


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str: ...


async def names(pager: Pager[Named]) -> list[str]:
    return [item.name async for item in pager]


async def reads(
    prisma: ManagementClient, session: OAuthSession, log: LogStream[BuildLogRecord, BuildLogTerminal]
) -> None:
    await names(prisma.databases.list())
    await names(prisma.projects.list())
    assert_type([record.text async for record in log], list[str])
    assert_type(Tokens("wksp", "access").access_token, str)
    assert_type(
        (await session.handle_callback("/callback", verifier="v", expected_state="s")).refresh_token, str | None
    )


async def mistakes(oauth: OAuthClient, prisma: ManagementClient, row: str | None) -> None:
    """What a checker has to refuse: an ignore that nothing needs is an error."""
    from prisma_mgmt import ManagmentClient  # type: ignore[attr-defined]  # pyright: ignore  # noqa: F401, PGH003
    from prisma_mgmt.auth import OAuthSesion  # type: ignore[attr-defined]  # pyright: ignore  # noqa: F401, PGH003
    from prisma_mgmt.auth.storage import FileTokenStorge  # type: ignore[attr-defined]  # pyright: ignore  # noqa: F401, PGH003
    from prisma_mgmt.sandbox import Sandbx  # type: ignore[attr-defined]  # pyright: ignore  # noqa: F401, PGH003

    Tokens("wksp", row)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    SessionManager(oauth, lambda _: MemoryTokenStorage(), leewy=4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await prisma.databases.get(7)  # type: ignore[arg-type]  # pyright: ignore  # noqa: PGH003
