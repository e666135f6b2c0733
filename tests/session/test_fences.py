"""S7-S11 and S15: expiry, deadlines, logouts and logins during a refresh, failing storages, one event loop."""

from typing import Any

import anyio
import pytest

from prisma_mgmt import AuthError, LoginRequiredError, NetworkError, RequestTimeoutError
from prisma_mgmt.auth import OAuthSession, Tokens
from prisma_mgmt.auth.storage import MemoryTokenStorage
from tests.conftest import FakeClock
from tests.kit.login import CountingStorage, Prisma, SharedStorage, jwt, oauth_at, session_at
from tests.kit.rig import Gate, Reply, Request, serve
from tests.kit.world import World, during_a_refresh, rounds, started, together

pytestmark = pytest.mark.anyio


async def callback(world: World) -> tuple[str, Any]:
    login = oauth_at(world.server.url).login_url()
    return f"/callback?code=abc&state={login.state}", login


# S7: renewal ahead of expiry


async def test_an_expired_token_is_renewed_before_the_call(prisma: Prisma, clock: FakeClock) -> None:
    async with started(prisma, clock=clock) as world:
        await world.storage.set_tokens(prisma.tokens(expires_at=clock.time + 1000))
        await world.call()
        clock.time += 939  # a minute and a second left
        await world.call()
        assert prisma.refreshes == 0
        clock.time += 2
        results = await together(20, world.call)
    assert {result["token"] for result in results} == {prisma.seen[-1]}
    assert prisma.refreshes == 1
    assert prisma.seen.count(prisma.seen[0]) == 2, "no call went out with the old token after that"


async def test_a_leeway_of_zero_leaves_renewing_to_the_401(prisma: Prisma, clock: FakeClock) -> None:
    async with started(prisma, clock=clock, leeway=0) as world:
        await world.storage.set_tokens(prisma.tokens(expires_at=clock.time - 1))
        await world.call()
    assert prisma.refreshes == 0


async def test_a_short_lived_token_is_not_renewed_all_the_time(prisma: Prisma, clock: FakeClock) -> None:
    prisma.grant = {"expires_in": 10}
    async with started(prisma, clock=clock) as world:
        await world.storage.set_tokens(prisma.tokens(expires_at=clock.time + 10))
        for _ in range(40):
            await world.call()
            clock.time += 0.5
    assert prisma.refreshes == 2, "one for each nine seconds of twenty"


@pytest.mark.parametrize("expires_in", ["soon", "36e2", 0, -5, 1e12, float("nan"), True, None, {}])
async def test_an_absurd_lifetime_costs_one_refresh(prisma: Prisma, expires_in: Any, clock: FakeClock) -> None:
    prisma.grant = {"expires_in": expires_in}
    async with started(prisma, clock=clock) as world:
        await world.storage.set_tokens(prisma.tokens(expires_at=clock.time - 1))
        for _ in range(5):
            await world.call()
    assert prisma.refreshes == 1


async def test_a_failed_renewal_ahead_of_expiry_leaves_a_good_token_in_use(prisma: Prisma, clock: FakeClock) -> None:
    async with started(prisma, clock=clock) as world:
        await world.storage.set_tokens(prisma.tokens(expires_at=clock.time + 1000))
        await world.call()
        clock.time += 950
        prisma.replies = [Reply(503, {"error": "temporarily_unavailable"})] * 2
        await world.call()
        await world.call()
        assert prisma.refreshes == 1, "the next try waits a little"
        clock.time += 60
        with pytest.raises(AuthError):
            await world.call()
        clock.time += 2
        await world.call()
    assert prisma.refreshes == 3


# S8: deadline, lost answers


async def test_a_lost_answer_is_asked_for_once_more() -> None:
    async with started(Prisma("grace", drop=1)) as world:
        world.prisma.expire()
        assert (await world.call())["token"] in world.prisma.live
        assert world.prisma.refreshes == 2
        assert world.storage.current is not None
        assert world.storage.current.refresh_token == "refresh-3"


async def test_a_strict_server_refuses_the_second_try_and_the_user_must_log_in() -> None:
    async with started(Prisma("strict", drop=1)) as world:
        world.prisma.expire()
        with pytest.raises(LoginRequiredError):
            await world.call()
        assert world.prisma.refreshes == 2


async def test_a_hanging_login_server_is_given_up_at_the_deadline(prisma: Prisma) -> None:
    prisma.token_gate = Gate()
    async with serve(prisma.handle) as server:
        storage = CountingStorage(prisma.tokens())
        session = OAuthSession(oauth_at(server.url, timeout=0.05), storage)
        token = await session.access_token()
        with anyio.fail_after(5), pytest.raises(RequestTimeoutError, match=r"0\.05"):
            await session.renew(token)
    assert storage.clears == 0


async def test_closing_leaves_nothing_behind(world: World) -> None:
    closed = anyio.Event()

    async def close() -> None:
        await world.session.aclose()
        closed.set()

    async with anyio.create_task_group() as group, during_a_refresh(world):
        group.start_soon(close)
        await rounds()
        assert not closed.is_set(), "it waits for the refresh"
    assert world.storage.current is not None
    assert world.storage.current.refresh_token == "refresh-2"


# S9: logouts and logins


async def test_a_logout_during_a_refresh_ends_logged_out(world: World) -> None:
    async with during_a_refresh(world, calls=5) as results:
        await world.session.logout()
    assert world.storage.current is None
    assert all(isinstance(error, LoginRequiredError) for error in results)
    assert world.storage.writes == []


async def test_a_logout_during_the_write_of_a_refresh_ends_logged_out(world: World) -> None:
    writing = Gate()

    storage = CountingStorage(world.storage.current)
    storage.writing = writing
    session = session_at(world.server.url, storage)
    old = await session.access_token()
    async with anyio.create_task_group() as group:

        async def renew() -> None:
            with pytest.raises(LoginRequiredError):
                await session.renew(old)

        group.start_soon(renew)
        await writing.arrived.wait()
        group.start_soon(session.logout)
        await rounds()
        writing.release()
    assert storage.current is None
    with pytest.raises(LoginRequiredError):
        await session.access_token()


async def test_a_login_during_a_refresh_ends_with_the_new_login(world: World) -> None:
    async with during_a_refresh(world, calls=5) as results:
        world.prisma.token_gate = Gate(open_=True)
        url, login = await callback(world)
        mine = await world.session.handle_callback(url, login)
    assert world.storage.current == mine
    assert [result["token"] for result in results] == [mine.access_token] * 5


async def test_a_refresh_never_switches_the_workspace_silently(world: World) -> None:
    world.prisma.grant = {"access_token": jwt(workspace_id="wksp_2")}
    world.prisma.expire()
    with pytest.raises(AuthError, match="another workspace"):
        await world.call()
    assert world.storage.current is not None
    assert world.storage.current.refresh_token == "refresh-2", "it is stored before it is judged"
    with pytest.raises(AuthError, match="another workspace"):
        await world.call()
    assert world.prisma.refreshes == 1
    world.prisma.grant = {}
    url, login = await callback(world)
    await world.session.handle_callback(url, login)
    assert await world.call()


@pytest.mark.parametrize("token", ["opaque", jwt(sub="user")])
async def test_a_refreshed_token_that_names_no_workspace_stays_with_the_old_one(world: World, token: str) -> None:
    world.prisma.grant = {"access_token": token}
    world.prisma.expire()
    assert (await world.call())["token"] == token
    assert world.storage.current is not None
    assert world.storage.current.workspace_id == "wksp_1"


# S10: a storage that fails


async def test_a_pair_that_cannot_be_stored_is_used_and_stored_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.storage.failures = 2
    world.prisma.expire()
    assert await world.call()
    assert world.storage.writes == []
    assert "could not be stored" in caplog.text
    assert "OSError" in caplog.text
    assert (await world.session.tokens()) is not None  # a second failure
    assert world.storage.writes == []
    assert (await world.session.tokens()) is not None
    assert [tokens.refresh_token for tokens in world.storage.writes] == ["refresh-2"]
    assert world.prisma.refreshes == 1


async def test_a_pair_that_could_not_be_stored_refreshes_on(world: World) -> None:
    world.storage.failures = 100
    for _ in range(3):
        world.prisma.expire()
        await world.call()
        await world.call()
    world.storage.failures = 0
    await world.session.aclose()
    assert [tokens.refresh_token for tokens in world.storage.writes] == ["refresh-4"]


async def test_closing_says_that_a_pair_cannot_be_stored(prisma: Prisma) -> None:
    async with serve(prisma.handle) as server:
        storage = CountingStorage(prisma.tokens())
        session = session_at(server.url, storage)
        storage.failures = 100
        await session.renew(await session.access_token())
        with pytest.raises(AuthError, match="OSError"):
            await session.aclose()


async def test_a_newer_pair_in_the_storage_wins_over_one_that_could_not_be_stored(world: World) -> None:
    world.storage.failures = 1
    world.prisma.expire()
    await world.call()
    newer = world.prisma.tokens()
    await MemoryTokenStorage.set_tokens(world.storage, newer)
    assert await world.session.tokens() == newer


async def test_a_login_that_cannot_be_stored_says_so_and_is_in_use(world: World) -> None:
    world.storage.failures = 1
    url, login = await callback(world)
    with pytest.raises(AuthError, match="storage failed"):
        await world.session.handle_callback(url, login)
    assert (await world.call())["token"] == await world.session.access_token()
    await world.session.tokens()
    assert world.storage.current is not None
    assert world.storage.current.refresh_token == "refresh-2"


async def test_a_storage_that_cannot_be_read_is_an_error_of_its_own(world: World) -> None:
    class Broken(MemoryTokenStorage):
        async def get_tokens(self) -> Tokens | None:
            raise ConnectionResetError("gone")

    session = session_at(world.server.url, Broken())
    with pytest.raises(AuthError, match="ConnectionResetError") as caught:
        await session.access_token()
    assert not isinstance(caught.value, LoginRequiredError)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("method", ["access_token", "drain", "aclose"])
async def test_a_storage_that_calls_its_session_is_told_so(world: World, method: str) -> None:
    class Calling(MemoryTokenStorage):
        session: OAuthSession

        async def get_tokens(self) -> Tokens | None:
            await getattr(self.session, method)()
            return None

    storage = Calling()
    storage.session = session_at(world.server.url, storage)
    with anyio.fail_after(5), pytest.raises(AuthError) as caught:
        await storage.session.access_token()
    assert "must not call the session" in str(caught.value.__cause__)


# S11: one event loop


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_second_event_loop_is_an_error(backend: str) -> None:
    session = OAuthSession(oauth_at("http://127.0.0.1:1"), MemoryTokenStorage(Prisma().tokens()))
    anyio.run(session.access_token, backend=backend)
    for call in (session.access_token, session.tokens, session.logout):
        with pytest.raises(RuntimeError, match="serves that event loop only"):
            anyio.run(call, backend=backend)


# S15: the snapshot


async def test_a_snapshot_serves_for_a_second(prisma: Prisma, clock: FakeClock) -> None:
    async with started(prisma, clock=clock) as world:
        for _ in range(10):
            await world.session.access_token()
        assert world.storage.reads == 1
        clock.time += 1
        await together(10, world.session.access_token)
        assert world.storage.reads == 2
        await MemoryTokenStorage.clear_tokens(world.storage)  # a logout in another process
        clock.time += 1
        with pytest.raises(LoginRequiredError):
            await world.call()


async def test_a_snapshot_of_zero_seconds_reads_each_time(prisma: Prisma) -> None:
    async with started(prisma, snapshot_ttl=0) as world:
        for _ in range(5):
            await world.session.access_token()
        assert world.storage.reads == 5


async def test_a_slow_read_does_not_bring_an_old_pair_back(world: World) -> None:
    reading = Gate(open_=True)

    class Slow(CountingStorage):
        async def get_tokens(self) -> Tokens | None:
            found = await super().get_tokens()
            await reading()
            return found

    storage = Slow(world.storage.current)
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    old = await session.access_token()
    reading = gate = Gate()
    async with anyio.create_task_group() as group:
        group.start_soon(session.access_token)
        await gate.arrived.wait()
        reading = Gate(open_=True)
        new = await session.renew(old)
        gate.release()
    assert await session.access_token() == new != old


async def test_a_slow_read_gives_nobody_what_was_replaced_meanwhile(world: World) -> None:
    reading, results = Gate(open_=True), list[str]()

    class Slow(CountingStorage):
        async def get_tokens(self) -> Tokens | None:
            found = await super().get_tokens()
            await reading()
            return found

    storage = Slow(world.storage.current)
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    old = await session.access_token()
    reading = gate = Gate()

    async def ask() -> None:
        results.append(await session.access_token())

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await gate.arrived.wait()
        reading = Gate(open_=True)
        await storage.set_tokens(newer := world.prisma.tokens())  # by another process
        assert await session.renew(old) == newer.access_token
        gate.release()
    assert results == [newer.access_token]


@pytest.mark.parametrize("storage_class", [CountingStorage, SharedStorage])
async def test_a_read_while_a_new_pair_is_written_waits_for_it(
    world: World, storage_class: type[CountingStorage]
) -> None:
    """The pair that is stored until then has been replaced, and nobody has logged out."""
    storage, results = storage_class(world.storage.current), list[str]()
    session = session_at(world.server.url, storage, snapshot_ttl=0)
    old = await session.access_token()
    gate = storage.writing = Gate()

    async def ask() -> None:
        results.append(await session.access_token())

    async with anyio.create_task_group() as group:
        group.start_soon(session.renew, old)
        await gate.arrived.wait()
        group.start_soon(ask)
        await rounds()
        assert results == []
        gate.release()
    assert storage.current is not None
    assert results == [storage.current.access_token] != [old]


async def test_network_faults_of_the_login_server_surface_as_what_they_are() -> None:
    async with serve(_never) as server:
        url = server.url
    session = session_at(url, MemoryTokenStorage(Prisma().tokens()))
    with pytest.raises(NetworkError) as caught:
        await session.renew(await session.access_token())
    assert caught.value.unsent


async def _never(_: Request) -> Reply:
    raise AssertionError("nobody is to call")
