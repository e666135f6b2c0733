"""S7, S9 and C1: renewals, logins, logouts and refusals that meet, and what each caller is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import AuthError, LoginRequiredError, ManagementClient, RetryPolicy
from prisma_mgmt.auth import OAuthSession
from prisma_mgmt.auth.ledger import Ledger
from prisma_mgmt.auth.storage import MemoryTokenStorage
from tests.conftest import FakeClock
from tests.kit.canaries import leaks
from tests.kit.login import CountingStorage, Prisma, oauth_at, session_at
from tests.kit.rig import Gate, Reply
from tests.kit.world import World, during_a_refresh, rounds, started

pytestmark = pytest.mark.anyio


# A renewal ahead of expiry


@asynccontextmanager
async def nearly_expired(prisma: Prisma, clock: FakeClock) -> AsyncIterator[tuple[World, str]]:
    """A world and its token, which is good but due to be renewed."""
    async with started(prisma, clock=clock) as world:
        await world.storage.set_tokens(prisma.tokens(expires_at=clock.time + 1000))
        old = await world.session.access_token()
        clock.time += 950
        yield world, old


async def test_a_good_token_is_not_outdated_by_its_renewal_until_a_call_was_rejected(
    prisma: Prisma, clock: FakeClock
) -> None:
    async with nearly_expired(prisma, clock) as (world, old):
        gate = prisma.token_gate = Gate()
        async with anyio.create_task_group() as group:
            group.start_soon(world.session.access_token)
            await gate.arrived.wait()
            assert not world.session.outdated(old)
            group.start_soon(world.session.renew, old)
            await rounds()
            assert world.session.outdated(old)
            group.start_soon(world.session.renew, "an older token")
            await rounds()
            assert world.session.outdated(old)
            gate.release()
        assert world.session.outdated(old), "there is another now"
    assert prisma.refreshes == 1


async def test_a_good_token_is_not_outdated_while_the_next_one_is_being_stored(
    prisma: Prisma, clock: FakeClock
) -> None:
    async with nearly_expired(prisma, clock) as (world, old):
        gate = world.storage.writing = Gate()
        async with anyio.create_task_group() as group:
            group.start_soon(world.session.access_token)
            await gate.arrived.wait()
            assert not world.session.outdated(old)
            gate.release()
        assert world.session.outdated(old)


class ClearsNothing(CountingStorage):
    async def clear_tokens(self) -> None:
        raise OSError("read-only")


@pytest.mark.parametrize("kind", [CountingStorage, ClearsNothing])
async def test_a_logout_in_another_event_loop_outdates_a_good_token_while_it_is_renewed(
    world: World, kind: type[CountingStorage], clock: FakeClock
) -> None:
    storage, ledger = kind(world.prisma.tokens(expires_at=clock.time + 1000)), Ledger()
    mine, other = (session_at(world.server.url, storage, clock=clock, ledger=ledger) for _ in range(2))
    old = await mine.access_token()
    clock.time += 950
    async with during_a_refresh(world, mine.access_token) as results:
        assert not mine.outdated(old)
        with pytest.raises(AuthError, match="OSError") if kind is ClearsNothing else nullcontext():
            await other.logout()
        assert mine.outdated(old)
    assert [type(result) for result in results] == [LoginRequiredError]


async def test_an_expired_token_is_outdated_while_it_is_renewed(prisma: Prisma, clock: FakeClock) -> None:
    async with started(prisma, clock=clock) as world:
        await world.storage.set_tokens(prisma.tokens(expires_at=clock.time + 1000))
        old = await world.session.access_token()
        clock.time += 1001
        gate = prisma.token_gate = Gate()
        async with anyio.create_task_group() as group:
            group.start_soon(world.session.access_token)
            await gate.arrived.wait()
            assert world.session.outdated(old)
            gate.release()


async def test_a_call_that_waits_for_a_connection_goes_out_though_a_renewal_fails(
    prisma: Prisma, clock: FakeClock
) -> None:
    async with started(prisma, clock=clock) as world:
        await world.storage.set_tokens(prisma.tokens(expires_at=clock.time + 1000))
        api_gate, token_gate = Gate(), Gate()
        prisma.api_gate, prisma.token_gate = api_gate, token_gate
        client = ManagementClient(
            world.session, base_url=world.server.url, retry=RetryPolicy(attempts=1), max_connections=1
        )
        results: list[int] = []

        async def call(one: ManagementClient) -> None:
            results.append((await one.request("GET", "/v1/me")).status)

        async with client, anyio.create_task_group() as group:
            group.start_soon(call, client)
            await api_gate.arrived.wait()
            group.start_soon(call, client)
            await rounds()
            clock.time += 950
            prisma.replies = [Reply(503)]
            group.start_soon(call, world.client)
            await token_gate.arrived.wait()
            api_gate.release()
            await rounds()
            token_gate.release()
    assert results == [200] * 3
    assert prisma.refreshes == 1


# A login that is being stored


async def test_a_refusal_waits_for_a_login_that_is_just_being_stored(world: World) -> None:
    refusing, storing = Gate(), Gate()

    storage = CountingStorage(world.storage.current)
    session = session_at(world.server.url, storage)
    old = await session.access_token()
    login = oauth_at(world.server.url).login_url()
    world.prisma.refresh_tokens.clear()
    world.prisma.token_gate = refusing
    results: list[Any] = []

    async def renew() -> None:
        results.append(await session.renew(old))

    async with anyio.create_task_group() as group:
        group.start_soon(renew)
        await refusing.arrived.wait()
        world.prisma.token_gate, storage.writing = Gate(open_=True), storing
        group.start_soon(session.handle_callback, f"/callback?code=abc&state={login.state}", login)
        await storing.arrived.wait()
        refusing.release()
        await rounds()
        storing.release()
    assert results == [await session.access_token()] != [old]


# What a login raises


async def test_bad_arguments_of_a_login_are_a_value_error(world: World) -> None:
    with pytest.raises(ValueError, match="43 to 128 characters") as caught:
        await world.session.handle_callback(
            "/callback?code=canary-code&state=canary-state", verifier="canary-short", expected_state="canary-state"
        )
    assert type(caught.value) is ValueError
    assert leaks(caught.value) == []


async def test_a_login_that_fails_oddly_is_not_called_a_refresh() -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise RuntimeError("a transport's bug")

    oauth = oauth_at("https://auth.example", transport=httpx.MockTransport(broken))
    login = oauth.login_url()
    with pytest.raises(AuthError, match="the login ended with RuntimeError"):
        await OAuthSession(oauth, MemoryTokenStorage()).handle_callback(f"/cb?code=abc&state={login.state}", login)
    session = OAuthSession(oauth, MemoryTokenStorage(Prisma().tokens()))
    with pytest.raises(AuthError, match="the refresh ended with RuntimeError"):
        await session.renew(await session.access_token())
