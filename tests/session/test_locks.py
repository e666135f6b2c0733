"""Refresh locks as users write them: with scopes and task groups of their own, slow, or failing while they are held."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from prisma_mgmt import AuthError
from prisma_mgmt.auth import Tokens
from prisma_mgmt.auth.storage import locks
from prisma_mgmt.auth.vault import Patience, Vault
from tests.kit.login import SharedStorage, session_at
from tests.kit.rig import Gate, Reply
from tests.kit.world import World, together

pytestmark = pytest.mark.anyio

TOKENS = Tokens("wksp_1", "access", "refresh")


class Locking(SharedStorage):
    """A shared storage whose lock cannot fail."""

    held = False

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        self.held = True
        yield
        self.held = False


class WithScope(Locking):
    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        with anyio.fail_after(20):
            async with super().refresh_lock():
                yield


class WithTaskGroup(Locking):
    """Keeps its lock alive from a task of its own, until `failing` is set."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        super().__init__(tokens)
        self.failing, self.failed = anyio.Event(), anyio.Event()

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self._extend)
            async with super().refresh_lock():
                yield
            group.cancel_scope.cancel()

    async def _extend(self) -> None:
        await self.failing.wait()
        self.failed.set()
        raise ConnectionError("canary")


class NeverReleased(Locking):
    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        yield
        await anyio.sleep_forever()


class NeverThere(Locking):
    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        await anyio.sleep_forever()
        yield


async def test_whose_lock_is_free_waits_for_none_whose_locks_are_held() -> None:
    async def wait() -> None:
        async with Vault(NeverThere(TOKENS)).refresh_lock(TOKENS):
            pytest.fail("held")

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            async with Vault(Locking(TOKENS)).refresh_lock(TOKENS):
                group.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [WithScope, WithTaskGroup])
async def test_a_lock_may_hold_a_scope_or_a_task_group_of_its_own(world: World, kind: type[Locking]) -> None:
    storage = kind(world.storage.current)
    session = session_at(world.server.url, storage)
    old = await session.access_token()
    world.prisma.expire()
    new = await session.renew(old)
    assert storage.current is not None
    assert storage.current.access_token == new != old
    assert not storage.held
    session.accepted(str(new))
    world.prisma.replies = [Reply(503)]
    with pytest.raises(AuthError, match="503") as caught:
        await session.renew(str(new))
    assert type(caught.value) is AuthError
    assert not storage.held


@pytest.mark.parametrize("kind", [Locking, WithScope, WithTaskGroup, NeverReleased])
async def test_what_a_refresh_raises_under_a_lock_passes_unchanged(kind: type[Locking]) -> None:
    storage, raised = kind(), KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with Vault(storage, patience=Patience(storage=0.01)).refresh_lock(TOKENS):
            raise raised
    assert caught.value is raised


@pytest.mark.parametrize("kind", [Locking, WithTaskGroup])
async def test_what_is_done_under_a_lock_has_no_deadline_of_the_lock(kind: type[Locking]) -> None:
    storage = kind()
    async with Vault(storage).refresh_lock(TOKENS):
        assert anyio.current_effective_deadline() == math.inf


async def test_a_lock_that_never_comes_fails_all_who_wait_and_spends_nothing(world: World) -> None:
    session = session_at(world.server.url, NeverThere(world.storage.current), patience=Patience(lock=0.01))
    old = await session.access_token()
    results = await together(5, lambda: session.renew(old))
    assert [type(error) for error in results] == [AuthError] * 5
    assert all("refresh lock failed: TimeoutError" in str(error) for error in results)
    assert len({id(error) for error in results}) == 5
    assert world.prisma.refreshes == 0


def test_our_own_storages_give_up_on_a_lock_first() -> None:
    assert Patience().lock >= locks.LONGEST_WAIT + 5


async def test_a_lock_that_is_never_released_costs_nobody_the_refresh(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    session = session_at(world.server.url, NeverReleased(world.storage.current), patience=Patience(storage=0.5))
    old = await session.access_token()
    assert await session.renew(old) != old
    assert "the refresh lock could not be released (TimeoutError)" in caplog.messages


async def test_a_lock_whose_own_task_was_cancelled_costs_nobody_the_refresh(
    world: World, anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(BaseException):
        pass

    class Failing(Locking):
        @asynccontextmanager
        async def refresh_lock(self) -> AsyncIterator[None]:
            yield
            raise asyncio.CancelledError if anyio_backend == "asyncio" else Odd

    session = session_at(world.server.url, Failing(world.storage.current))
    old = await session.access_token()
    assert await session.renew(old) != old
    assert "the refresh lock could not be released" in caplog.text


async def test_a_lock_that_fails_while_it_is_held_does_not_cut_the_refresh(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    gate = world.prisma.token_gate = Gate()
    storage = WithTaskGroup(world.storage.current)
    session = session_at(world.server.url, storage)
    old, results = await session.access_token(), list[Any]()

    async def renew() -> None:
        results.append(await session.renew(old))

    async with anyio.create_task_group() as group:
        group.start_soon(renew)
        await gate.arrived.wait()
        storage.failing.set()
        await storage.failed.wait()
        await anyio.wait_all_tasks_blocked()
        gate.release()
    assert storage.current is not None
    assert results == [storage.current.access_token] != [old]
    assert [message for message in caplog.messages if "could not be released" in message]
