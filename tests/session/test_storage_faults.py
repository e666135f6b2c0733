"""S5, S10 and S13: storages that fail, hang or lie, at a refusal, at a logout and at the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from prisma_mgmt import AuthError, LoginRequiredError
from prisma_mgmt.auth import Tokens, session, vault
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.auth.tokens import same
from tests.conftest import FakeClock
from tests.kit.canaries import leaks
from tests.kit.login import CountingStorage, Prisma, session_at
from tests.kit.rig import Gate
from tests.kit.world import World, started

pytestmark = pytest.mark.anyio


class Faulty(CountingStorage):
    """Fails the next `bad_clears` clears."""

    bad_clears = 0

    async def clear_tokens(self) -> None:
        if self.bad_clears:
            self.bad_clears -= 1
            raise OSError("read-only")
        await super().clear_tokens()


class SharedFaulty(Faulty):
    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        yield

    async def clear_tokens_if_current(self, tokens: Tokens) -> bool:
        current = same(self._tokens, tokens)
        if current:
            await self.clear_tokens()
        return current


# Closing


@pytest.mark.parametrize("logged_in", [True, False])
async def test_closing_undoes_nothing_that_another_process_did(world: World, logged_in: bool) -> None:
    async with session_at(world.server.url, world.storage) as mine:
        world.storage.failures = 1
        await mine.renew(await mine.access_token())
        newer = world.prisma.tokens() if logged_in else None
        world.storage._tokens = newer
    assert world.storage.current == newer


async def test_closing_says_that_the_storage_hangs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Faulty(world.storage.current)
    mine = session_at(world.server.url, storage)
    storage.failures = 1
    await mine.renew(await mine.access_token())
    storage.writing = Gate()
    with monkeypatch.context() as patch, pytest.raises(AuthError, match="Faulty did not take the tokens within"):
        patch.setattr(vault, "_PATIENCE", 0.05)
        patch.setattr(session, "_DRAIN", 0.05)
        await mine.aclose()
    storage.writing = None
    await mine.aclose()
    assert [tokens.refresh_token for tokens in storage.writes] == ["refresh-2"]


# Refusals


@pytest.mark.parametrize("kind", [Faulty, SharedFaulty])
async def test_a_refused_pair_that_cannot_be_cleared_signs_out_once_and_is_cleared_later(
    prisma: Prisma, kind: type[Faulty], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    async with started(prisma) as world:
        storage = kind(world.storage.current)
        mine = session_at(world.server.url, storage, clock=clock, on_signed_out=lambda: told.append("out"))
        old = await mine.access_token()
        prisma.refresh_tokens.clear()
        storage.bad_clears = 2
        with pytest.raises(LoginRequiredError) as caught:
            await mine.renew(old)
        assert caught.value.refresh_token_invalid
        assert "the tokens could not be cleared; that is tried again (OSError)" in caplog.messages
        clock.time += 1
        with pytest.raises(LoginRequiredError):
            await mine.access_token()
        assert storage.current is not None, "the second try failed too"
        with pytest.raises(LoginRequiredError):
            await mine.access_token()
        assert storage.current is None
        with pytest.raises(LoginRequiredError):
            await mine.renew(old)
        await mine.aclose()
    assert told == ["out"]
    assert prisma.refreshes == 1


async def test_a_refusal_signs_nobody_out_while_the_storage_cannot_be_read(prisma: Prisma) -> None:
    told: list[str] = []
    async with started(prisma) as world:
        storage = Faulty(world.storage.current)
        mine = session_at(world.server.url, storage, on_signed_out=lambda: told.append("out"))
        old = await mine.access_token()
        prisma.refresh_tokens.clear()
        gate = prisma.token_gate = Gate()

        async def fail() -> None:
            with pytest.raises(AuthError, match="OSError"):
                await mine.renew(old)

        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await gate.arrived.wait()
            storage.unreadable = True
            gate.release()
        assert told == []
        storage.unreadable = False
        assert storage.current is not None
        with pytest.raises(LoginRequiredError):
            await mine.renew(old)
        await mine.aclose()
    assert storage.current is None
    assert told == ["out"]


# Logouts


async def test_a_logout_forgets_though_the_storage_cannot_be_read(world: World) -> None:
    storage = Faulty(world.storage.current)
    mine = session_at(world.server.url, storage)
    await mine.access_token()
    storage.unreadable = True
    with pytest.raises(AuthError, match="OSError"):
        await mine.logout(revoke=True)
    assert storage.current is None
    storage.unreadable = False
    with pytest.raises(LoginRequiredError):
        await mine.access_token()


@pytest.mark.parametrize("revoke", [True, False])
async def test_a_logout_that_cannot_clear_the_storage_is_made_up_for(world: World, revoke: bool) -> None:
    storage = Faulty(world.storage.current)
    mine = session_at(world.server.url, storage)
    await mine.access_token()
    storage.bad_clears = 2
    with pytest.raises(AuthError, match="OSError"):
        await mine.logout(revoke=revoke)
    for _ in range(2):
        with pytest.raises(LoginRequiredError):
            await mine.access_token()
    assert storage.current is None


async def test_a_login_elsewhere_outlives_a_logout_that_could_not_clear_the_storage(world: World) -> None:
    storage = Faulty(world.storage.current)
    mine = session_at(world.server.url, storage)
    await mine.access_token()
    storage.bad_clears = 1
    with pytest.raises(AuthError):
        await mine.logout()
    await storage.set_tokens(newer := world.prisma.tokens())
    assert await mine.tokens() == newer
    await mine.aclose()
    assert storage.current == newer


# What a storage gives


@pytest.mark.parametrize("found", [{"accessToken": "canary-access"}, "canary-token", ("canary-access", None)])
async def test_what_is_no_tokens_is_refused_by_its_type_and_not_shown(world: World, found: Any) -> None:
    class Wrong(MemoryTokenStorage):
        async def get_tokens(self) -> Tokens | None:
            return found  # type: ignore[no-any-return]  # the very mistake

    mine = session_at(world.server.url, Wrong())
    for call in (mine.access_token, mine.tokens, lambda: mine.renew("canary-old")):
        with pytest.raises(AuthError, match=f"must give Tokens or None, not {type(found).__name__}") as caught:
            await call()
        assert leaks(caught.value) == []
