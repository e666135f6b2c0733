"""S1-S6: one refresh for all, whatever happens to those who asked for it."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from prisma_mgmt import AuthenticationError, AuthError, LoginRequiredError, ManagementClient, NetworkError
from prisma_mgmt.auth import Tokens
from prisma_mgmt.auth.storage import MemoryTokenStorage
from tests.conftest import FakeClock
from tests.kit.login import Prisma, session_at
from tests.kit.rig import Gate, Reply, until
from tests.kit.world import World, cancelled_by_a_scope, during_a_refresh, rounds, started, together

pytestmark = pytest.mark.anyio


# S1: the refresh token is spent once


async def test_calls_that_meet_a_401_together_share_one_refresh(world: World) -> None:
    world.prisma.expire()
    results = await together(50, world.call)
    assert world.prisma.refreshes == 1
    assert {result["token"] for result in results} == {world.prisma.live.copy().pop()}


async def test_clients_of_one_session_share_its_refresh(world: World) -> None:
    world.prisma.expire()
    async with world.another_client() as other:

        async def call() -> Any:
            return await other.request("GET", "/v1/me")

        async with anyio.create_task_group() as group:
            group.start_soon(together, 100, world.call)
            group.start_soon(together, 100, call)
    assert world.prisma.refreshes == 1


async def test_the_rotated_pair_is_stored(world: World) -> None:
    world.prisma.expire()
    await world.call()
    assert [tokens.refresh_token for tokens in world.storage.writes] == ["refresh-2"]


async def test_a_call_that_waits_for_a_connection_waits_for_the_refresh_too(world: World) -> None:
    gate = world.prisma.token_gate = Gate()
    refusing = world.prisma.api_gate = Gate()  # or a call that is just being connected would wait, too
    world.prisma.expire()
    client = ManagementClient(world.session, base_url=world.server.url, max_connections=2)
    results: list[Any] = []

    async def collect() -> None:
        results.extend(await together(20, lambda: client.request("GET", "/v1/me")))

    async with client, anyio.create_task_group() as group:
        group.start_soon(collect)
        await until(lambda: len(world.prisma.seen) == 2)
        refusing.release()
        await gate.arrived.wait()
        await rounds()
        assert len(world.prisma.seen) == 2, "the others do not send a token that was refused"
        gate.release()
    assert [result.status for result in results] == [200] * 20
    assert len(world.prisma.seen) == 22
    assert world.prisma.refreshes == 1


async def test_a_failed_refresh_fails_those_who_wait_for_a_connection_too(prisma: Prisma, clock: FakeClock) -> None:
    async with started(prisma, clock=clock) as world:
        await _fail_those_who_wait(world, clock)


async def _fail_those_who_wait(world: World, clock: FakeClock) -> None:
    gate = world.prisma.token_gate = Gate()
    refusing = world.prisma.api_gate = Gate()  # or a call that is just being connected would wait, too
    world.prisma.replies = [Reply(503)]
    world.prisma.expire()
    client = ManagementClient(world.session, base_url=world.server.url, max_connections=2)
    results: list[Any] = []

    async def collect() -> None:
        results.extend(await together(20, lambda: client.request("GET", "/v1/me")))

    async with client:
        async with anyio.create_task_group() as group:
            group.start_soon(collect)
            await until(lambda: len(world.prisma.seen) == 2)
            refusing.release()
            await gate.arrived.wait()
            await rounds()
            gate.release()
        assert {type(result) for result in results} == {AuthError}
        assert len({id(result) for result in results}) == 20
        assert len(world.prisma.seen) == 2
        clock.time += 1
        assert (await client.request("GET", "/v1/me")).status == 200


# S2: stale and everlasting 401s


async def test_a_401_for_an_older_token_costs_no_refresh(world: World) -> None:
    old = await world.session.access_token()
    world.prisma.expire()
    await world.call()
    assert await world.session.renew(old) == await world.session.access_token()
    assert world.prisma.refreshes == 1


async def test_an_api_that_always_says_401_costs_one_refresh_and_its_answer_surfaces(world: World) -> None:
    world.prisma.api_status = 401
    for _ in range(5):
        with pytest.raises(AuthenticationError, match="the API says no"):
            await world.call()
    results = await together(50, world.call)
    assert all(isinstance(result, AuthenticationError) for result in results)
    assert world.prisma.refreshes == 1


async def test_a_token_that_was_taken_once_is_refreshed_when_it_is_rejected_later(world: World) -> None:
    for count in range(1, 6):
        world.prisma.expire()
        await world.call()
        assert world.prisma.refreshes == count
        await world.call()


async def test_a_fruitless_refresh_is_tried_again_after_a_while(prisma: Prisma, clock: FakeClock) -> None:
    async with started(prisma, clock=clock) as world:
        world.prisma.api_status = 401
        for seconds in (0, 5, 4, 2, 5):
            clock.time += seconds
            with pytest.raises(AuthenticationError):
                await world.call()
    assert world.prisma.refreshes == 2


# S3: cancellation


async def test_cancelling_the_caller_that_started_the_refresh_loses_nothing(world: World) -> None:
    gate = world.prisma.token_gate = Gate()
    world.prisma.expire()
    results: list[Any] = []

    async def follow() -> None:
        await gate.arrived.wait()
        results.extend(await together(3, world.call))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await cancelled_by_a_scope(world.call, gate)()  # returns although the refresh is still held
        await rounds()  # the others wait too: what they hold was rejected, so that they do not send it
        gate.release()
    assert [isinstance(result, dict) for result in results] == [True, True, True]
    assert world.prisma.refreshes == 1
    assert world.storage.current is not None
    assert world.storage.current.refresh_token == "refresh-2"


async def test_cancelling_one_who_waits_cancels_nobody_else(world: World) -> None:
    async with during_a_refresh(world, calls=3) as results:
        await cancelled_by_a_scope(world.call, world.prisma.token_gate)()
    assert [isinstance(result, dict) for result in results] == [True, True, True]
    world.prisma.expire()
    await world.call()
    assert world.prisma.refreshes == 2


async def test_a_refresh_that_everybody_left_is_stored_when_the_session_closes(world: World) -> None:
    gate = world.prisma.token_gate = Gate()
    world.prisma.expire()
    await cancelled_by_a_scope(world.call, gate)()
    gc.collect()
    async with anyio.create_task_group() as group:
        group.start_soon(world.session.aclose)
        gate.release()
    assert [tokens.refresh_token for tokens in world.storage.writes] == ["refresh-2"]


async def test_cancellation_at_every_point_of_a_call_costs_at_most_one_refresh(anyio_backend: str) -> None:
    """Sweep: cancel at the k-th checkpoint of a call that refreshes, until a call runs through."""
    for k in range(1000):
        prisma = Prisma("strict")
        async with started(prisma) as world:
            prisma.expire()
            cancelled = await _cancelled_after(k, world.call)
            assert (await world.call())["token"] in prisma.live
            assert (prisma.refreshes, prisma.refused) == (1, 0)
            if not cancelled:
                break
    assert 10 < k < 1000


async def _cancelled_after(steps: int, call: Callable[[], Awaitable[Any]]) -> bool:
    """Whether `call` was still under way after `steps` rounds of the event loop, and was cancelled."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def count() -> None:
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

            group.start_soon(count)
            await call()
            return False
    return True


async def _by_task_cancel(call: Callable[[], Awaitable[Any]], gate: Gate) -> None:
    task = asyncio.ensure_future(call())
    await gate.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _by_timeout(call: Callable[[], Awaitable[Any]], gate: Gate) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as timeout:

            async def expire() -> None:
                await gate.arrived.wait()
                timeout.reschedule(0)

            watcher = asyncio.ensure_future(expire())
            await call()
    await watcher


async def _by_wait_for(call: Callable[[], Awaitable[Any]], gate: Gate) -> None:
    task = asyncio.ensure_future(asyncio.wait_for(call(), 3600))
    await gate.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _by_sibling(call: Callable[[], Awaitable[Any]], gate: Gate) -> None:
    async def fail() -> None:
        await gate.arrived.wait()
        raise KeyError("sibling")

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(call())
            group.create_task(fail())


async def _by_anyio(call: Callable[[], Awaitable[Any]], gate: Gate) -> None:
    await cancelled_by_a_scope(call, gate)()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("cancelled", [_by_task_cancel, _by_timeout, _by_wait_for, _by_sibling, _by_anyio])
async def test_five_kinds_of_cancellation_on_asyncio(world: World, cancelled: Any) -> None:
    gate = world.prisma.token_gate = Gate()
    world.prisma.expire()
    await cancelled(world.call, gate)
    followers = asyncio.ensure_future(together(3, world.call))
    gate.release()
    assert [isinstance(result, dict) for result in await followers] == [True, True, True]
    assert world.prisma.refreshes == 1
    assert [tokens.refresh_token for tokens in world.storage.writes] == ["refresh-2"]


async def test_a_refresh_sees_no_context_of_the_caller(world: World) -> None:
    tenant: ContextVar[str | None] = ContextVar("tenant", default=None)
    seen: list[str | None] = []

    class Watching(MemoryTokenStorage):
        async def set_tokens(self, tokens: Tokens) -> None:
            seen.append(tenant.get())
            await super().set_tokens(tokens)

    session = session_at(world.server.url, Watching(world.storage.current))
    tenant.set("somebody")
    world.prisma.expire()
    old = await session.access_token()
    await session.renew(old)
    assert seen == [None]


# S4: a failed refresh


async def test_a_failed_refresh_fails_all_who_waited_once_each_with_its_own_exception(
    prisma: Prisma, clock: FakeClock
) -> None:
    async with started(prisma, clock=clock) as world:
        await _fail_all(world, clock)


async def _fail_all(world: World, clock: FakeClock) -> None:
    gate = world.prisma.token_gate = Gate()
    refusing = world.prisma.api_gate = Gate()  # or the calls that are sent last would wait for the refresh first
    world.prisma.replies = [Reply(503, {"error": "temporarily_unavailable"}, headers={"retry-after": "7"})]
    world.prisma.expire()
    results: list[Any] = []

    async def collect() -> None:
        results.extend(await together(50, world.call))

    async with anyio.create_task_group() as group:
        group.start_soon(collect)
        await until(lambda: len(world.prisma.seen) == 50)
        refusing.release()
        await gate.arrived.wait()
        await rounds()
        gate.release()
    assert world.prisma.refreshes == 1
    assert all(type(error) is AuthError and error.retry_after == 7 for error in results)
    assert len({id(error) for error in results}) == 50
    assert all(isinstance(error.__cause__, AuthenticationError) for error in results)
    clock.time += 7
    assert (await world.call())["token"] in world.prisma.live
    assert world.storage.clears == 0


# S5: only invalid_grant signs out

OTHER_ANSWERS = [
    Reply(400, {"error": "invalid_request"}),
    Reply(400, {"error": "unauthorized_client"}),
    Reply(400, {"error": "invalid_scope"}),
    Reply(401, {"error": "invalid_client"}),
    Reply(400, {"message": "no error field"}),
    Reply(400, content=b"<html>bad request</html>", headers={"content-type": "text/html"}),
    Reply(403, {"error": "access_denied"}),
    Reply(404, content=b""),
    Reply(429, {"error": "slow_down"}, headers={"retry-after": "3"}),
    Reply(500, {"error": "server_error"}),
    Reply(500, {"error": "invalid_grant"}),
    Reply(502, content=b"<html>"),
    Reply(503, content=b""),
    Reply(302, content=b"", headers={"location": "https://elsewhere.example/"}),
    Reply(200, content=b""),
    Reply(200, content=b"null"),
    Reply(200, content=b"[]"),
    Reply(200, content=b"not json"),
    Reply(200, {"error": "invalid_grant"}),
    Reply(200, {"access_token": "", "token_type": "Bearer"}),
    Reply(200, {"access_token": 7, "token_type": "Bearer"}),
    Reply(200, {"access_token": "t", "token_type": "mac"}),
    Reply(200, {"token_type": "Bearer"}),
    Reply(200, content=b"x" * 100_000),
]


@pytest.mark.parametrize("reply", OTHER_ANSWERS, ids=lambda reply: f"{reply.status} {reply.body or reply.raw()[:20]}")
async def test_nothing_but_invalid_grant_signs_out(world: World, reply: Reply) -> None:
    world.prisma.replies = [reply]
    world.prisma.expire()
    with pytest.raises(AuthError) as caught:
        await world.call()
    assert not caught.value.refresh_token_invalid
    assert not isinstance(caught.value, LoginRequiredError)
    assert world.storage.current is not None
    assert world.storage.current.refresh_token == "refresh-1"
    assert world.storage.clears == 0
    assert None not in world.prisma.seen


async def test_a_network_fault_signs_nobody_out(world: World) -> None:
    world.prisma.drop = 2
    world.prisma.expire()
    world.prisma.refresh_tokens.add("refresh-1")
    with pytest.raises(NetworkError):
        await world.session.renew(await world.session.access_token())
    assert world.storage.clears == 0
    assert world.storage.current is not None


async def test_invalid_grant_clears_and_asks_for_a_login(world: World) -> None:
    world.prisma.expire()
    world.prisma.refresh_tokens.clear()
    with pytest.raises(LoginRequiredError) as caught:
        await world.call()
    assert caught.value.refresh_token_invalid
    assert caught.value.error == "invalid_grant"
    assert isinstance(caught.value.__cause__, AuthenticationError)
    assert world.storage.current is None
    results = await together(20, world.call)
    assert all(isinstance(result, LoginRequiredError) for result in results)
    assert world.prisma.refreshes == 1


async def test_invalid_grant_does_not_destroy_a_newer_pair(world: World) -> None:
    world.prisma.refresh_tokens.clear()
    async with during_a_refresh(world) as results:
        newer = world.prisma.tokens()
        await MemoryTokenStorage.set_tokens(world.storage, newer)  # another process was faster
    assert results[0]["token"] == newer.access_token
    assert world.storage.current == newer
    assert world.storage.clears == 0


async def test_a_pair_that_another_process_stored_meanwhile_is_not_overwritten(world: World) -> None:
    async with during_a_refresh(world) as results:
        newer = world.prisma.tokens()
        await MemoryTokenStorage.set_tokens(world.storage, newer)
    assert results[0]["token"] == newer.access_token
    assert world.storage.current == newer


async def test_no_request_leaves_without_its_token(world: World) -> None:
    await world.storage.clear_tokens()
    with pytest.raises(LoginRequiredError, match="nobody is logged in"):
        await world.call()
    assert world.prisma.seen == []


# S6: what a refresh answer leaves out


@pytest.mark.parametrize("nothing", [None, 7, ""])
async def test_a_refresh_answer_without_a_refresh_token_keeps_the_old_one(world: World, nothing: Any) -> None:
    world.prisma.grant = {"refresh_token": nothing, "scope": nothing}
    world.prisma.expire()
    await world.call()
    assert world.storage.current is not None
    assert world.storage.current.refresh_token == "refresh-1"


async def test_a_login_without_a_refresh_token_works_until_it_expires(prisma: Prisma, clock: FakeClock) -> None:
    async with started(prisma, clock=clock) as world:
        await world.storage.set_tokens(prisma.tokens(refresh_token=None, expires_at=clock.time + 100))
        assert await world.call()
        clock.time += 99  # inside the leeway, but good
        assert await world.call()
        clock.time += 2
        with pytest.raises(LoginRequiredError, match="no refresh token"):
            await world.call()
        assert prisma.forms == []
        assert world.storage.current is not None, "only invalid_grant signs out"


async def test_a_401_without_a_refresh_token_asks_for_a_login_and_keeps_the_api_answer(world: World) -> None:
    await world.storage.set_tokens(world.prisma.tokens(refresh_token=None))
    world.prisma.expire()
    with pytest.raises(LoginRequiredError) as caught:
        await world.call()
    assert isinstance(caught.value.__cause__, AuthenticationError)
    assert world.prisma.forms == []
    assert world.storage.clears == 0
