"""Hooks, and logouts that revoke."""

from typing import Any

import anyio
import pytest

from prisma_mgmt import AuthError, LoginRequiredError
from prisma_mgmt.auth import OAuthSession, Tokens
from tests.login import Prisma, oauth_at, session_at
from tests.rig import Reply, Request, serve
from tests.world import World, started

pytestmark = pytest.mark.anyio


async def test_hooks_are_told_of_a_refresh_and_of_the_end(prisma: Prisma) -> None:
    told: list[Any] = []

    async def refreshed(tokens: Tokens) -> None:
        told.append(tokens.refresh_token)

    async with started(prisma, on_refreshed=refreshed, on_signed_out=lambda: told.append("out")) as world:
        prisma.expire()
        await world.call()
        prisma.expire()
        prisma.refresh_tokens.clear()
        with pytest.raises(LoginRequiredError):
            await world.call()
        await world.session.aclose()
    assert told == ["refresh-2", "out"]


async def test_a_hook_that_fails_hurts_nobody(prisma: Prisma, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Tokens) -> None:
        raise KeyError("hook")

    async with started(prisma, on_refreshed=broken) as world:
        prisma.expire()
        assert await world.call()
    assert "failed (KeyError)" in caplog.text


async def test_a_hook_may_call_its_session(prisma: Prisma) -> None:
    seen: list[Tokens | None] = []

    async def refreshed(_: Tokens) -> None:
        seen.append(await session.tokens())

    async with serve(prisma.handle) as server, anyio.create_task_group():
        tokens = prisma.tokens()
        from prisma_mgmt.auth.storage import MemoryTokenStorage

        session = OAuthSession(oauth_at(server.url), MemoryTokenStorage(tokens), on_refreshed=refreshed)
        async with session:
            await session.renew(tokens.access_token)
    assert [one.refresh_token for one in seen if one] == ["refresh-2"]


class Revoking(Prisma):
    """A login server that publishes a revocation endpoint."""

    metadata: Any = None
    status = 200

    async def handle(self, request: Request) -> Reply:
        if request.path == "/.well-known/oauth-authorization-server":
            return Reply(body=self.metadata) if self.metadata else Reply(404, {})
        if request.path == "/revoke":
            self.forms.append({"grant_type": "revoke", **request.form})
            return Reply(self.status, {"error": "unsupported_token_type"})
        return await super().handle(request)


async def revoking(world: World, **metadata: Any) -> Revoking:
    prisma = world.prisma
    assert isinstance(prisma, Revoking)
    prisma.metadata = {"issuer": world.server.url, "revocation_endpoint": f"{world.server.url}/revoke", **metadata}
    return prisma


async def test_a_logout_revokes_where_the_server_has_a_way() -> None:
    async with started(Revoking()) as world:
        prisma = await revoking(world)
        await world.session.logout(revoke=True)
        assert world.storage.current is None
        assert prisma.forms == [
            {"grant_type": "revoke", "token": "refresh-1", "token_type_hint": "refresh_token", "client_id": "client"}
        ]


async def test_a_logout_asks_nobody_unless_told_to() -> None:
    async with started(Revoking()) as world:
        prisma = await revoking(world)
        await world.session.logout()
        assert world.storage.current is None
        assert prisma.forms == []


async def test_a_server_without_a_way_is_no_error() -> None:
    async with started(Revoking()) as world:
        await world.session.logout(revoke=True)
        assert world.storage.current is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://elsewhere.example"},
        {"revocation_endpoint": "https://elsewhere.example/revoke"},
        {"revocation_endpoint": "http://127.0.0.1:1/revoke"},
    ],
)
async def test_a_token_goes_to_the_configured_server_only(metadata: dict[str, str]) -> None:
    async with started(Revoking()) as world:
        prisma = await revoking(world, **metadata)
        with pytest.raises(AuthError, match="another server"):
            await world.session.logout(revoke=True)
        assert world.storage.current is None, "the tokens are gone here all the same"
        assert prisma.forms == []


async def test_a_refused_revocation_is_told_and_the_tokens_are_gone() -> None:
    async with started(Revoking()) as world:
        prisma = await revoking(world)
        prisma.status = 400
        with pytest.raises(AuthError, match="unsupported_token_type"):
            await world.session.logout(revoke=True)
        assert world.storage.current is None


async def test_a_logout_without_tokens_revokes_nothing(world: World) -> None:
    session = session_at(world.server.url, world.storage)
    await session.logout()
    await session.logout(revoke=True)
    assert world.prisma.forms == []
