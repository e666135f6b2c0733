"""S2, S4, S9, S16: everlasting 401s, a token endpoint in trouble, what logins and logouts end, storages that lag."""

import gc
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from prisma_mgmt import AuthenticationError, AuthError, LoginRequiredError, ManagementClient, NetworkError, RetryPolicy
from prisma_mgmt.auth import OAuthSession, SessionManager, Tokens
from prisma_mgmt.auth.ledger import Ledger, mark
from prisma_mgmt.auth.storage import MemoryTokenStorage
from prisma_mgmt.credentials import TrackedCredentials
from tests.conftest import FakeClock
from tests.kit.login import CountingStorage, Prisma, SharedStorage, oauth_at, session_at
from tests.kit.rig import Gate, Reply, serve, until
from tests.kit.tls import certificate
from tests.kit.world import World, during_a_refresh, log_in, rounds, started, together

pytestmark = pytest.mark.anyio


# S2: a 401 for ever


async def test_a_401_for_ever_costs_one_refresh_though_the_session_is_collected_between_calls(
    world: World, clock: FakeClock
) -> None:
    oauth = oauth_at(world.server.url)
    manager = SessionManager(oauth, lambda _: world.storage, snapshot_ttl=0, monotonic=clock.monotonic)
    old = await manager["ada"].access_token()
    new = await manager["ada"].renew(old)
    for _ in range(5):
        gc.collect()
        assert await manager["ada"].renew(str(new)) is None
    assert world.prisma.refreshes == 1


async def test_one_route_that_answers_401_for_ever_costs_no_refresh_for_each_of_its_calls(clock: FakeClock) -> None:
    async with started(Prisma("strict"), clock=clock) as world:
        token = await world.session.access_token()
        for seconds, refreshes in ((0.0, 5), (9.0, 5), (1.0, 10)):
            clock.time += seconds
            for _ in range(10):
                renewed = await world.session.renew(token)
                token = renewed or token
                world.session.accepted(token)  # by other routes
            assert renewed is None
            assert world.prisma.refreshes == refreshes


async def test_a_late_success_of_an_old_token_proves_nothing_of_the_one_after_it(world: World) -> None:
    old = await world.session.access_token()
    new = str(await world.session.renew(old))
    world.session.accepted(old)
    assert await world.session.renew(new) is None
    world.session.accepted(new)
    assert await world.session.renew(new) not in (None, new)
    assert world.prisma.refreshes == 2


async def test_a_401_for_another_processs_login_is_renewed_though_we_have_just_refreshed(world: World) -> None:
    await world.session.renew(await world.session.access_token())
    elsewhere = world.prisma.tokens()
    await MemoryTokenStorage.set_tokens(world.storage, elsewhere)
    renewed = await world.session.renew(elsewhere.access_token)
    assert renewed not in (None, elsewhere.access_token)
    assert world.prisma.refreshes == 2


async def test_two_processes_do_not_go_on_outdoing_each_other_while_the_api_says_401_for_ever(
    clock: FakeClock,
) -> None:
    async with started(Prisma(), clock=clock) as world:
        for _ in range(9):
            elsewhere = world.prisma.tokens()  # what the other process refreshed
            await MemoryTokenStorage.set_tokens(world.storage, elsewhere)
            await world.session.renew(elsewhere.access_token)
        assert world.prisma.refreshes == 2
        clock.time += 10
        await world.session.renew(elsewhere.access_token)
        assert world.prisma.refreshes == 3


async def test_a_token_in_its_last_second_is_renewed_however_often_others_were(clock: FakeClock) -> None:
    """The server may count it as expired: it counts in whole seconds."""
    async with started(Prisma(grant={"expires_in": 1}), clock=clock) as world:
        token = str(await world.session.access_token())
        for refreshes in range(1, 9):
            token = str(await world.session.renew(token))
            world.session.accepted(token)
            assert world.prisma.refreshes == refreshes
            clock.time += 0.3


# S4: a token endpoint in trouble

TROUBLES = [
    (Reply(503, content=b"<html>"), 1.0),
    (Reply(401, {"error": "invalid_client"}), 1.0),
    (Reply(502, content=b"<html>"), 1.0),
    (Reply(429, {"error": "slow_down"}, headers={"retry-after": "60"}), 60.0),
]


@pytest.mark.parametrize(("reply", "pause"), TROUBLES)
async def test_a_token_endpoint_in_trouble_is_asked_once_by_a_hundred_calls(
    clock: FakeClock, reply: Reply, pause: float
) -> None:
    async with started(Prisma(), clock=clock) as world:
        old = await world.session.access_token()
        world.prisma.replies = [reply]
        errors = [error for _ in range(100) for error in await together(1, lambda: world.session.renew(old))]
        assert {(type(error), str(error)) for error in errors} == {(AuthError, str(errors[0]))}
        assert len({id(error) for error in errors}) == 100
        assert world.prisma.refreshes == 1
        clock.time += pause
        assert await world.session.renew(old) != old
        assert world.prisma.refreshes == 2


async def test_the_pause_doubles_up_to_half_a_minute(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        old = await world.session.access_token()
        world.prisma.replies = [Reply(503)] * 7
        for pause in (1, 2, 4, 8, 16, 30, 30):
            await together(3, lambda: world.session.renew(old))
            clock.time += pause - 0.01
            before = world.prisma.refreshes
            await together(1, lambda: world.session.renew(old))
            assert world.prisma.refreshes == before
            clock.time += 0.01
        assert world.prisma.refreshes == 7
        assert await world.session.renew(old) != old


async def test_a_pause_holds_though_the_session_is_collected_between_calls(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        oauth = oauth_at(world.server.url, now=clock.now)
        manager = SessionManager(oauth, lambda _: world.storage, monotonic=clock.monotonic)
        old = await manager["ada"].access_token()
        world.prisma.replies = [Reply(503)] * 9
        for _ in range(9):
            gc.collect()
            with pytest.raises(AuthError, match="503"):
                await manager["ada"].renew(old)
    assert world.prisma.refreshes == 1


async def test_a_pause_holds_though_each_call_has_a_client_of_its_own(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        old = await world.session.access_token()
        world.prisma.replies = [Reply(503)] * 9
        for _ in range(9):
            with pytest.raises(AuthError, match="503"):
                await session_at(world.server.url, world.storage, clock=clock).renew(old)
    assert world.prisma.refreshes == 1


async def test_a_login_ends_the_pause_of_the_login_before(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        world.prisma.replies = [Reply(503, headers={"retry-after": "3600"})]
        await together(
            1, lambda: world.session.renew(str(world.storage.current and world.storage.current.access_token))
        )
        mine = await log_in(world, world.session)
        assert await world.session.renew(mine.access_token) != mine.access_token


async def test_the_cause_of_a_failure_reaches_all_who_wait(world: World) -> None:
    class Full(SharedStorage):
        async def get_tokens(self) -> Tokens | None:
            if self.failures:
                raise OSError(28, "No space left on device")
            return await super().get_tokens()

    storage = Full(world.storage.current)
    session = session_at(world.server.url, storage)
    old = await session.access_token()
    storage.failures = 1
    errors = await together(5, lambda: session.renew(old))
    assert [str(error.__cause__) for error in errors] == ["[Errno 28] No space left on device"] * 5
    errors[0].add_note("mine")
    assert not hasattr(errors[1], "__notes__")


async def test_a_network_fault_pauses_too(clock: FakeClock) -> None:
    async with started(Prisma(), clock=clock) as world:
        world.prisma.drop = 9
        old = await world.session.access_token()
        errors = [error for _ in range(4) for error in await together(1, lambda: world.session.renew(old))]
        assert [type(error) for error in errors] == [NetworkError] * 4
        assert world.prisma.refreshes == 2, "a lost answer is asked for once more, and then no more"


async def test_every_call_that_fails_ends_its_causes_with_its_own_401(world: World, clock: FakeClock) -> None:
    session = session_at(world.server.url, world.storage, clock=clock)
    client = ManagementClient(session, base_url=world.server.url, retry=RetryPolicy(attempts=1))
    world.prisma.drop = 9
    world.prisma.expire()
    async with client:
        for route in ("/v1/first", "/v1/second"):
            with pytest.raises(NetworkError) as caught:
                await client.request("GET", route)
            last: BaseException = caught.value
            while last.__cause__ is not None:
                last = last.__cause__
            assert isinstance(last, AuthenticationError)
            assert last.url.endswith(route)
            assert caught.value.__cause__ is not last, "why the renewal failed stays between"
    with pytest.raises(NetworkError) as caught:
        await session.renew(await session.access_token())
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__cause__ is None, "no call of the API was in it"


@pytest.mark.parametrize("error", [OSError, RuntimeError, anyio.BrokenResourceError])
async def test_a_fault_of_a_users_transport_pauses_too(clock: FakeClock, error: type[Exception]) -> None:
    asked = list[httpx.Request]()

    class Down(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request)
            raise error("down")

    oauth = oauth_at("https://auth.example", transport=Down(), now=clock.now)
    session = OAuthSession(oauth, CountingStorage(Prisma().tokens()), monotonic=clock.monotonic)
    old = await session.access_token()
    errors = [one for _ in range(4) for one in await together(1, lambda: session.renew(old))]
    assert [(str(one), type(one.__cause__)) for one in errors] == [
        (f"the refresh ended with {error.__name__}", error)
    ] * 4
    assert len(asked) == 1
    clock.time += 1
    await together(1, lambda: session.renew(old))
    assert len(asked) == 2


# S9: logins and logouts


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("ends", ["logout", "login"])
async def test_who_waits_for_a_renewal_ahead_of_expiry_never_gets_the_old_logins_token(
    clock: FakeClock, ends: str, fails: bool
) -> None:
    async with started(Prisma(), clock=clock) as world:
        await world.storage.set_tokens(world.prisma.tokens(expires_at=clock.time + 1000))
        old = await world.session.access_token()
        clock.time += 950
        gate = world.prisma.token_gate = Gate()
        world.prisma.replies = [Reply(503)] if fails else []
        results: list[Any] = []

        async def wait() -> None:
            results.extend(await together(3, world.session.access_token))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await gate.arrived.wait()
            world.prisma.token_gate, world.prisma.replies = Gate(open_=True), []
            if ends == "logout":
                await world.session.logout()
            else:
                new = (await log_in(world, world.session)).access_token
            await rounds()
            told = list(results)
            gate.release()
    assert told == results, "nobody waits for the old login's refresh"
    if ends == "logout":
        assert [type(result) for result in results] == [LoginRequiredError] * 3
    else:
        assert results == [new] * 3
        assert old not in results


@pytest.mark.parametrize("stored", [True, False])
async def test_who_waits_for_a_renewal_ahead_that_fails_gets_what_another_process_left(
    clock: FakeClock, stored: bool
) -> None:
    async with started(Prisma(), clock=clock) as world:
        await world.storage.set_tokens(world.prisma.tokens(expires_at=clock.time + 1000))
        await world.session.access_token()
        clock.time += 950
        world.prisma.replies = [Reply(503)]
        async with during_a_refresh(world, world.session.access_token) as results:
            newer = world.prisma.tokens(expires_at=clock.time + 3600) if stored else None
            world.storage._tokens = newer
            clock.time += 5
        if newer is None:
            assert [type(result) for result in results] == [LoginRequiredError]
            return
        assert results == [newer.access_token]
        clock.time += 10
        assert await world.session.access_token() == newer.access_token
        assert world.prisma.refreshes == 1, "the new pair is not renewed for the old one's trouble"


async def test_a_logout_in_one_event_loop_counts_in_another_at_once(world: World) -> None:
    ledger = Ledger()
    mine, other = (session_at(world.server.url, world.storage, ledger=ledger) for _ in range(2))
    assert await mine.access_token() == await other.access_token()
    await other.logout()
    with pytest.raises(LoginRequiredError):
        await mine.access_token()


class SlowToRelease(SharedStorage):
    """Has a lock that takes a moment to be released, as over a network."""

    releasing: Gate

    @asynccontextmanager
    async def refresh_lock(self) -> AsyncIterator[None]:
        yield
        await self.releasing()


@pytest.mark.parametrize("anew", [False, True], ids=["logout", "login"])
async def test_what_comes_in_another_event_loop_while_a_refresh_releases_its_lock_counts_at_once(
    world: World, anew: bool
) -> None:
    storage, ledger = SlowToRelease(world.storage.current), Ledger()
    storage.releasing = Gate()
    mine, other = (session_at(world.server.url, storage, ledger=ledger) for _ in range(2))
    old = await mine.access_token()
    renewed: list[Any] = []

    async def renew() -> None:
        renewed.extend(await together(1, lambda: mine.renew(old)))

    async with anyio.create_task_group() as group:
        group.start_soon(renew)
        await storage.releasing.arrived.wait()
        newer = await log_in(world, other) if anew else None
        if newer is None:
            await other.logout()
        storage.releasing.release()
    assert mine.outdated(storage.writes[0].access_token)
    if newer is not None:
        assert renewed == [newer.access_token]
        assert await mine.access_token() == newer.access_token
        return
    assert isinstance(renewed[0], LoginRequiredError)
    with pytest.raises(LoginRequiredError):
        await mine.access_token()


async def test_no_call_is_held_back_by_a_renewal_that_can_bring_nothing_new(world: World) -> None:
    """The API answers 401 for ever: each call gets that, and none waits for a place once more."""
    reading, token = Gate(), str(await world.session.renew(await world.session.access_token()))
    world.storage.reading = reading
    async with anyio.create_task_group() as group:
        group.start_soon(world.session.renew, token)
        await reading.arrived.wait()
        assert not world.session.outdated(token)
        world.session.accepted(token)
        assert world.session.outdated(token), "by now a refresh helps"
        reading.release()


class SlowForOne(CountingStorage):
    """Its next reads wait for these gates, each for its own; None lets one pass."""

    gates: list[Gate | None]

    async def get_tokens(self) -> Tokens | None:
        gate = self.gates.pop(0) if self.gates else None
        self.reads += 1
        if gate is not None:
            await gate()
        return self.current


async def test_a_refresh_token_that_an_overtaken_refresh_has_spent_is_not_spent_again_before_the_logout_is_stored(
    world: World,
) -> None:
    storage, ledger, results = SlowForOne(world.storage.current), Ledger(), list[Any]()
    storage.gates = []
    session = session_at(world.server.url, storage, ledger=ledger)
    old = await session.access_token()

    async def renew() -> None:
        results.extend(await together(1, lambda: session.renew(old)))

    answered, logout_reads = Gate(), Gate()
    world.prisma.token_gate = answered
    async with anyio.create_task_group() as group:
        group.start_soon(renew)
        await answered.arrived.wait()
        async with ledger.claim(b"writing"):  # as another event loop that writes
            answered.release()
            await rounds()
            group.start_soon(session.logout)
            await rounds()
            group.start_soon(renew)
            await rounds()
            storage.gates = [None, logout_reads]  # the overtaken refresh reads, and then the logout
        await logout_reads.arrived.wait()
        assert mark(storage.current) in ledger.spent, "the other refresh would read it, and send it"
        logout_reads.release()
    assert (world.prisma.refreshes, world.prisma.refused) == (1, 0)
    assert [type(result) for result in results] == [LoginRequiredError] * 2


async def test_a_call_ahead_of_expiry_does_not_get_what_was_logged_out_in_another_event_loop(world: World) -> None:
    storage, ledger = SlowToRelease(world.prisma.tokens(expires_at=1.0)), Ledger()
    storage.releasing = Gate()
    mine, other = (session_at(world.server.url, storage, ledger=ledger) for _ in range(2))
    results: list[Any] = []

    async def ask() -> None:
        results.extend(await together(1, mine.access_token))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await storage.releasing.arrived.wait()
        await other.logout()
        storage.releasing.release()
    assert isinstance(results[0], LoginRequiredError)


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another event loop"])
async def test_calls_that_wait_for_a_place_when_a_logout_returns_are_not_sent(world: World, elsewhere: bool) -> None:
    gate, ledger = Gate(), Ledger()
    world.prisma.api_gate = gate
    mine, other = (session_at(world.server.url, world.storage, ledger=ledger) for _ in range(2))
    client = ManagementClient(mine, base_url=world.server.url, retry=RetryPolicy(attempts=1), max_connections=1)
    results: list[Any] = []

    async def call() -> None:
        results.extend(await together(4, lambda: client.request("GET", "/v1/me")))

    async with client, anyio.create_task_group() as group:
        group.start_soon(call)
        await gate.arrived.wait()
        await rounds()
        await (other if elsewhere else mine).logout()
        gate.release()
    assert len(world.prisma.seen) == 1
    assert sorted(type(result).__name__ for result in results) == ["LoginRequiredError"] * 3 + ["Response"]


class TriesAgain(httpx.AsyncHTTPTransport):
    """A transport of a user's that sends what a server could not answer once more, when it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.pausing = Gate()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if response.status_code != 503:
            return response
        await response.aread()
        await self.pausing()
        return await super().handle_async_request(request)


async def test_a_call_that_a_users_transport_sends_once_more_after_a_logout_is_not_sent(world: World) -> None:
    transport, results = TriesAgain(), list[Any]()
    world.prisma.api_status = 503
    async with httpx.AsyncClient(transport=transport) as users:
        client = ManagementClient(world.session, base_url=world.server.url, http_client=users)

        async def call() -> None:
            results.extend(await together(1, lambda: client.request("GET", "/v1/me")))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await transport.pausing.arrived.wait()
            await world.session.logout()
            world.prisma.api_status = None
            transport.pausing.release()
    assert [type(result) for result in results] == [LoginRequiredError]
    assert len(world.prisma.seen) == 1


async def test_a_call_whose_connection_is_being_made_when_a_logout_returns_is_not_sent(
    world: World, tmp_path: Path
) -> None:
    authority, handshake, results = certificate(tmp_path), Gate(), list[Any]()
    async with serve(world.prisma.handle, authority.server(), handshake) as sealed:
        context = ssl.create_default_context(cafile=authority.path)
        client = ManagementClient(world.session, base_url=sealed.url, ssl_context=context)

        async def call() -> None:
            results.extend(await together(1, lambda: client.request("GET", "/v1/me")))

        async with client, anyio.create_task_group() as group:
            group.start_soon(call)
            await handshake.arrived.wait()
            await world.session.logout()
            handshake.release()
        assert sealed.requests == []
        await until(lambda: sealed.open_connections == 0)
    assert [type(result) for result in results] == [LoginRequiredError]


async def test_calls_that_wait_in_the_pool_of_a_users_client_when_a_logout_returns_are_not_sent(world: World) -> None:
    gate = world.prisma.api_gate = Gate()
    results: list[Any] = []
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=1)) as own:
        client = ManagementClient(world.session, base_url=world.server.url, http_client=own)

        async def call() -> None:
            results.extend(await together(3, lambda: client.request("GET", "/v1/me")))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await gate.arrived.wait()
            await rounds()
            await world.session.logout()
            gate.release()
        assert len(world.prisma.seen) == 1
        world.prisma.api_gate = Gate(open_=True)
        new = await log_in(world, world.session)
        assert (await client.request("GET", "/v1/me")).body["token"] == new.access_token
    assert sorted(type(result).__name__ for result in results) == ["LoginRequiredError"] * 2 + ["Response"]


async def test_every_token_but_the_current_one_is_outdated(world: World) -> None:
    assert not world.session.outdated("anything"), "nothing is known before the first read"
    token = await world.session.access_token()
    assert not world.session.outdated(token)
    assert world.session.outdated("another")
    await world.session.logout()
    assert world.session.outdated(token)


# S16: a storage that lags


class Lagging(CountingStorage):
    """Gives what it held before its last write while `lags`."""

    lags = False
    clears_fail = False
    before: Tokens | None = None

    async def get_tokens(self) -> Tokens | None:
        return self.before if self.lags else await super().get_tokens()

    async def set_tokens(self, tokens: Tokens) -> None:
        self.before = self._tokens if not self.lags else self.before
        await super().set_tokens(tokens)

    async def clear_tokens(self) -> None:
        if self.clears_fail:
            raise OSError("read-only")
        self.before = self._tokens if not self.lags else self.before
        await super().clear_tokens()


class LaggingShared(Lagging, SharedStorage):
    pass


@pytest.mark.parametrize("kind", [Lagging, LaggingShared])
async def test_a_pair_that_was_replaced_here_is_never_used_again(world: World, kind: type[Lagging]) -> None:
    storage = kind(world.storage.current)
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    first = await session.access_token()
    second = await session.renew(first)
    storage.lags = True
    assert await session.access_token() == second
    session.accepted(str(second))
    third = await session.renew(str(second))
    assert third not in (first, second)
    assert await session.access_token() == third
    mine = await log_in(world, session)
    assert await session.access_token() == mine.access_token
    await session.logout()
    with pytest.raises(LoginRequiredError):
        await session.access_token()
    assert (world.prisma.refreshes, world.prisma.refused) == (2, 0)


@pytest.mark.parametrize("kind", [Lagging, LaggingShared])
async def test_a_storage_may_lag_though_nobody_holds_the_session_between_calls(
    world: World, kind: type[Lagging]
) -> None:
    storage = kind(world.storage.current)
    manager = SessionManager(oauth_at(world.server.url), lambda _: storage, snapshot_ttl=0)
    old = await manager["ada"].access_token()
    new = await manager["ada"].renew(old)
    storage.lags = True
    gc.collect()
    assert await manager["ada"].access_token() == new
    await manager["ada"].logout()
    gc.collect()
    with pytest.raises(LoginRequiredError):
        await manager["ada"].access_token()
    assert (world.prisma.refreshes, world.prisma.refused) == (1, 0)


async def test_a_login_that_was_made_up_for_outlives_a_storage_that_lags(world: World) -> None:
    storage = Lagging(world.storage.current)
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    storage.unreadable, storage.failures = True, 1
    with pytest.raises(AuthError):
        await log_in(world, session)
    storage.unreadable = False
    mine = await session.access_token()
    storage.lags = True
    assert await session.access_token() == mine


async def test_a_shared_storage_that_is_back_from_an_older_copy_is_brought_up_to_date_at_once(world: World) -> None:
    before = world.storage.current
    storage = SharedStorage(before)
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    new = await session.renew(await session.access_token())
    assert before is not None
    await storage.set_tokens(before)  # as a server does that starts again from its last snapshot
    assert await session.access_token() == new
    assert storage.current is not None
    assert storage.current.access_token == new, "another process would spend the old pair again"
    await session.logout()
    await storage.set_tokens(before)
    with pytest.raises(LoginRequiredError):
        await session.access_token()
    assert storage.current is None


@pytest.mark.parametrize("kind", [Lagging, LaggingShared])
@pytest.mark.parametrize("fails", [False, True], ids=["", "and the storage cannot be cleared"])
async def test_a_logout_by_a_new_session_ends_what_a_storage_that_lags_does_not_give_yet(
    world: World, kind: type[Lagging], fails: bool
) -> None:
    storage = kind(world.storage.current)
    manager = SessionManager(oauth_at(world.server.url), lambda _: storage, snapshot_ttl=0)
    await manager["ada"].renew(await manager["ada"].access_token())
    newer, storage.lags = storage.current, True
    gc.collect()
    storage.clears_fail = fails
    with pytest.raises(AuthError) if fails else nullcontext():
        await manager["ada"].logout()
    storage.before = newer  # it lags less by now, and gives what was logged out
    for _ in range(2):
        gc.collect()
        assert await manager["ada"].tokens() is None
    storage.lags = storage.clears_fail = False
    assert await manager["ada"].tokens() is None
    assert storage.current is None


async def test_a_logout_in_another_event_loop_ends_what_a_storage_that_lags_does_not_give_yet(world: World) -> None:
    storage, ledger = LaggingShared(world.storage.current), Ledger()
    mine, other = (session_at(world.server.url, storage, ledger=ledger, snapshot_ttl=0) for _ in range(2))
    await mine.renew(await mine.access_token())
    newer, storage.lags = storage.current, True
    await other.logout()
    storage.before = newer  # it lags less by now, and gives what was logged out
    for session in (mine, other):
        assert await session.tokens() is None


@pytest.mark.parametrize("elsewhere", ["rotated", "logged out"])
async def test_what_a_storage_goes_back_to_is_what_it_was_last_seen_to_hold(world: World, elsewhere: str) -> None:
    before = world.storage.current
    assert before is not None
    storage = SharedStorage(before)
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    await session.renew(await session.access_token())
    other = session_at(world.server.url, storage)  # in another process
    if elsewhere == "rotated":
        newest: str | None = await other.renew(await other.access_token())
        assert await session.access_token() == newest
    else:
        newest = None
        await other.logout()
        assert await session.tokens() is None
    await storage.set_tokens(before)  # as a server does that starts again from an old snapshot
    held = await session.tokens()
    assert (held and held.access_token) == newest
    assert (storage.current and storage.current.access_token) == newest
    assert world.prisma.refused == 0


async def test_a_logout_elsewhere_stands_though_the_storage_had_lagged(world: World) -> None:
    storage = LaggingShared(world.storage.current)
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    new = await session.renew(await session.access_token())
    storage.lags = True
    assert await session.access_token() == new
    await storage.clear_tokens()  # by another process
    storage.lags = False
    with pytest.raises(LoginRequiredError):
        await session.access_token()
    assert storage.current is None


async def test_no_secret_stands_in_what_a_session_keeps(world: World) -> None:
    world.storage.failures = 1
    await world.session.renew(await world.session.access_token())
    vault = vars(world.session)["_vault"]
    shown = repr([vars(vault), vars(world.session), [getattr(vault.ledger, name) for name in ("unsaved", "spent")]])
    assert "refresh-" not in shown
    assert "eyJhbG" not in shown, "a hash may hold fewer of these letters"


# The seam


async def test_draining_waits_for_a_refresh_under_way_and_leaves_the_session_in_use(world: World) -> None:
    assert isinstance(world.session, TrackedCredentials)
    gate = world.prisma.token_gate = Gate()
    old, done = await world.session.access_token(), list[str]()

    async def drain() -> None:
        await world.session.drain()
        done.append("drained")

    async with anyio.create_task_group() as group:
        group.start_soon(world.session.renew, old)
        await gate.arrived.wait()
        group.start_soon(drain)
        await rounds()
        assert done == []
        gate.release()
    assert done == ["drained"]
    assert await world.session.access_token() != old
