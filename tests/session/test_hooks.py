"""Hooks, and logouts that revoke."""

from functools import partial
from typing import Any

import anyio
import pytest

from prisma_mgmt import AuthError, LoginRequiredError
from prisma_mgmt.auth import OAuthSession, Tokens
from tests.kit.login import CountingStorage, Prisma, oauth_at, session_at
from tests.kit.rig import Gate, Reply, Request, serve
from tests.kit.world import World, during_a_refresh, rounds, started

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
    def broken(where: str, _: Tokens) -> None:
        raise KeyError(where)

    async with started(prisma, on_refreshed=partial(broken, "canary")) as world:
        prisma.expire()
        assert await world.call()
    assert "the hook partial failed (KeyError)" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_hook_that_would_end_the_program_does_not_break_trio(prisma: Prisma) -> None:
    def leave(_: Tokens) -> None:
        raise SystemExit

    async with started(prisma, on_refreshed=leave) as world:
        prisma.expire()
        assert await world.call()
        await world.session.aclose()


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


async def test_a_hook_may_close_its_session_and_waits_for_no_hook(prisma: Prisma) -> None:
    closing, closed = Gate(), list[str]()

    async def refreshed(tokens: Tokens) -> None:
        await closing()
        await world.session.aclose()
        closed.append(str(tokens.refresh_token))

    async with started(prisma, on_refreshed=refreshed) as world:
        for _ in range(2):
            await world.session.renew(await world.session.access_token())
            world.session.accepted(await world.session.access_token())
        closing.release()
        await rounds()
        assert sorted(closed) == ["refresh-2", "refresh-3"]


async def test_closing_waits_for_the_hook_of_a_refresh_that_it_waited_for(prisma: Prisma) -> None:
    answering, telling, done = Gate(), Gate(), list[str]()
    prisma.token_gate = answering

    async def refreshed(_: Tokens) -> None:
        await telling()
        done.append("told")

    async def close() -> None:
        await world.session.aclose()
        done.append("closed")

    async with started(prisma, on_refreshed=refreshed) as world, anyio.create_task_group() as group:
        group.start_soon(world.session.renew, await world.session.access_token())
        await answering.arrived.wait()
        group.start_soon(close)
        await rounds()
        answering.release()
        await telling.arrived.wait()
        await rounds()
        assert done == []
        telling.release()
    assert done == ["told", "closed"]


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


async def test_a_logout_revokes_the_tokens_at_hand_where_the_storage_cannot_be_read() -> None:
    async with started(Revoking()) as world:
        prisma = await revoking(world)
        storage = CountingStorage(world.storage.current)
        session = session_at(world.server.url, storage)
        await session.access_token()
        storage.unreadable = True
        with pytest.raises(AuthError, match="OSError"):
            await session.logout(revoke=True)
        assert storage.current is None
        assert [form["token"] for form in prisma.forms] == ["refresh-1"]


async def test_a_logout_revokes_and_ends_what_is_in_use_though_the_storage_lags() -> None:
    async with started(Revoking()) as world:
        prisma = await revoking(world)
        storage = Late(None)
        session = session_at(world.server.url, storage, snapshot_ttl=0)
        storage.given = None  # as a replica that has not seen the login yet
        login = oauth_at(world.server.url).login_url()
        mine = await session.handle_callback(f"/callback?code=c&state={login.state}", login)
        await session.logout(revoke=True)
        assert [form["token"] for form in prisma.forms if form["grant_type"] == "revoke"] == [mine.refresh_token]
        storage.given = mine  # it has by now, and not the logout
        assert await session.tokens() is None


class Late(CountingStorage):
    """Gives what a replica would."""

    given: Tokens | None = None

    async def get_tokens(self) -> Tokens | None:
        return self.given


@pytest.mark.parametrize(("revoke", "revoked"), [(True, ["refresh-1", "refresh-2"]), (False, [])])
@pytest.mark.parametrize("status", [200, 400])
async def test_a_logout_that_revokes_revokes_what_a_refresh_under_way_brings(
    revoke: bool, revoked: list[str], status: int
) -> None:
    async with started(Revoking()) as world:
        prisma = await revoking(world)
        prisma.status = status
        told: list[Any] = []
        old = await world.session.access_token()
        async with during_a_refresh(world, lambda: world.session.renew(old)) as results:
            try:
                await world.session.logout(revoke=revoke)
            except AuthError as error:
                told.append(error.error)
        await world.session.aclose()
        assert [form["token"] for form in prisma.forms if form["grant_type"] == "revoke"] == revoked
        assert [type(error) for error in results] == [LoginRequiredError]
        assert "nobody is logged in" in str(results[0])
        assert told == ([] if status == 200 or not revoke else ["unsupported_token_type"])
        assert world.storage.current is None


async def test_a_logout_that_revokes_waits_for_a_pair_that_is_being_stored() -> None:
    async with started(Revoking()) as world:
        prisma = await revoking(world)
        storing = Gate()

        storage = CountingStorage(world.storage.current)
        storage.writing = storing
        session = session_at(world.server.url, storage)
        old = await session.access_token()
        async with anyio.create_task_group() as group:

            async def renew() -> None:
                with pytest.raises(LoginRequiredError):
                    await session.renew(old)

            group.start_soon(renew)
            await storing.arrived.wait()

            async def log_out() -> None:
                await session.logout(revoke=True)

            group.start_soon(log_out)
            await rounds()
            storing.release()
        assert storage.current is None
        assert [form["token"] for form in prisma.forms if form["grant_type"] == "revoke"] == ["refresh-2"]
